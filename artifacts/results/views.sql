-- The views of results.duckdb: the rules of PGR and of agreement. What they read is in schema.sql.

-- Labels under the names of the stage that nearly all of them are of.
CREATE VIEW weak_labels AS SELECT key, split, id, prob AS weak_prob FROM labels;

-- What the labels of each supervisor are worth, by split: accuracy, mean distance from one half, calibration error, and
-- correlation of P(class 1) with the length of the text. NULL for labels of before it was measured.
CREATE VIEW label_quality AS
SELECT
    dataset, coalesce(supervisor, model) AS supervisor, seed,
    -- A part of the student's half that was labelled in its place.
    CASE WHEN split = 'transfer_train' THEN coalesce(half, split) ELSE split END AS split, key,
    (metrics ->> ('$.accuracy_' || split))::DOUBLE AS accuracy,
    (metrics ->> ('$.certainty_' || split))::DOUBLE AS certainty,
    (metrics ->> ('$.ece_' || split))::DOUBLE AS ece,
    (metrics ->> ('$.length_correlation_' || split))::DOUBLE AS length_correlation
FROM nodes
JOIN (SELECT DISTINCT key, split FROM labels) USING (key)
WHERE metrics ->> ('$.accuracy_' || split) IS NOT NULL;

-- Labels whose mean distance from one half is less say little. It is 0.5 of labels that are all sure.
CREATE MACRO least_certainty() AS 0.05;

-- Performance gap recovered, (transfer - weak) / (ceiling - weak): Burns et al. 2023 (arXiv 2312.09390), section 3.
-- flag: undefined where ceiling <= weak (pgr is NULL); unstable where the gap is below two of its standard errors, or
-- that error is unknown; NULL where the number is sound. It knows one seed, and so of items only, as the interval does,
-- which is given where flag is NULL. near_chance: which of
-- the three trainings (weak, transfer, ceiling) differed from its labels nearly as often as a coin over its last two
-- thirds, see w2s_core/training/curve.py; and the labels, as the student saw them, where they say little: they can be
-- right and yet so near to one half that a student hardly moves (harden or calibrate them). supervisor_acc is of the
-- labels that the student was given, so that
-- transfer_acc - supervisor_acc is what generalization gave; pgr_plain is against the ceiling trained the usual way.
CREATE VIEW pgr AS
WITH
    accuracies AS (
        -- Two nodes can share a key (a weight of 0 on a loss's extra term trains the same model): count it once.
        SELECT DISTINCT key, accuracy, near_chance, label_certainty FROM scores WHERE accuracy IS NOT NULL
    ),
    compared AS (
        SELECT
            p.grid, p.dataset, p.weak, p.strong, p.method, p.seed, p.gap_se, p.pgr_low, p.pgr_high,
            w.accuracy AS weak_acc,
            t.accuracy AS transfer_acc,
            c.accuracy AS ceiling_acc,
            s.accuracy AS supervisor_acc,
            cp.accuracy AS ceiling_plain_acc,
            c.accuracy - w.accuracy AS gap,
            w.near_chance AS weak_near,
            t.near_chance AS transfer_near,
            c.near_chance AS ceiling_near,
            t.label_certainty,
            CASE
                WHEN gap <= 0 THEN 'undefined'
                WHEN gap_se IS NULL OR gap < least_errors() * gap_se THEN 'unstable'
            END AS flag
        FROM pairs AS p
        JOIN accuracies AS w ON w.key = p.weak_score
        JOIN accuracies AS t ON t.key = p.transfer_score
        JOIN accuracies AS c ON c.key = p.ceiling_score  -- which self-training has not
        LEFT JOIN accuracies AS s ON s.key = p.supervisor_score
        LEFT JOIN accuracies AS cp ON cp.key = p.ceiling_plain_score
    )
SELECT
    grid, dataset, weak, strong, method, seed, weak_acc, transfer_acc, ceiling_acc, gap,
    CASE WHEN gap > 0 THEN (transfer_acc - weak_acc) / gap END AS pgr,
    flag,
    nullif(concat_ws(', ',
        CASE WHEN weak_near THEN 'weak' END,
        CASE WHEN transfer_near THEN 'transfer' END,
        CASE WHEN ceiling_near THEN 'ceiling' END,
        CASE WHEN label_certainty < least_certainty() THEN 'labels' END
    ), '') AS near_chance,
    supervisor_acc, ceiling_plain_acc, label_certainty,
    CASE WHEN ceiling_plain_acc > weak_acc THEN (transfer_acc - weak_acc) / (ceiling_plain_acc - weak_acc) END
        AS pgr_plain,
    CASE WHEN flag IS NULL THEN pgr_low END AS pgr_low,
    CASE WHEN flag IS NULL THEN pgr_high END AS pgr_high
FROM compared;

-- Over seeds. pgr is the ratio of the means. flag: undefined as above; unstable where the gap, or the ratio, is not told
-- from none. The interval is given where flag is NULL: elsewhere the ratio has none worth printing. interval_of says what
-- interval and flag know of: items and seeds, or, with one seed, items only. n_flagged counts seeds that are flagged by
-- themselves, near_chance is that of any seed.
CREATE VIEW pgr_by_pair AS
WITH
    means AS (
        SELECT
            grid, dataset, weak, strong, method,
            avg(weak_acc) AS weak_acc,
            avg(transfer_acc) AS transfer_acc,
            avg(ceiling_acc) AS ceiling_acc,
            avg(gap) AS gap,
            -- Means of the same seeds as the others, or none.
            CASE WHEN count(supervisor_acc) = count(*) THEN avg(supervisor_acc) END AS supervisor_acc,
            CASE WHEN count(ceiling_plain_acc) = count(*) THEN avg(ceiling_plain_acc) END AS ceiling_plain_acc,
            count(*) AS n_seeds,
            count(flag) AS n_flagged,
            nullif(concat_ws(', ',
                CASE WHEN bool_or(near_chance LIKE '%weak%') THEN 'weak' END,
                CASE WHEN bool_or(near_chance LIKE '%transfer%') THEN 'transfer' END,
                CASE WHEN bool_or(near_chance LIKE '%ceiling%') THEN 'ceiling' END,
                CASE WHEN bool_or(near_chance LIKE '%labels%') THEN 'labels' END
            ), '') AS near_chance
        FROM pgr
        GROUP BY grid, dataset, weak, strong, method
    ),
    flagged AS (
        SELECT
            means.*, n_items, pgr_low, pgr_high,
            CASE
                WHEN gap <= 0 THEN 'undefined'
                WHEN pgr_low IS NULL OR gap < least_gap THEN 'unstable'
            END AS flag
        FROM means
        LEFT JOIN uncertainty USING (grid, dataset, weak, strong, method)
    )
SELECT
    grid, dataset, weak, strong, method, weak_acc, transfer_acc, ceiling_acc, gap,
    CASE WHEN gap > 0 THEN (transfer_acc - weak_acc) / gap END AS pgr,
    CASE WHEN flag IS NULL THEN pgr_low END AS pgr_low,
    CASE WHEN flag IS NULL THEN pgr_high END AS pgr_high,
    CASE WHEN n_seeds > 1 THEN 'items and seeds' ELSE 'items only' END AS interval_of,
    n_seeds, n_flagged, flag, near_chance, supervisor_acc, ceiling_plain_acc, n_items
FROM flagged;

-- PGR over any grouping of pairs: of each grid, and each combination of the columns that `per` lists, as in
-- pgr_over(['strong', 'method']). Pairs are those of pgr_by_pair, or of the table, view or WITH that `pairs` names, which
-- has its columns and any more: pgr_over(['method'], pairs := 'chosen'). PGR is of the sound pairs, accuracies are of all.
-- Pairs of a dataset share test items and trainings, so their errors are taken as if they were all in common: the ends of
-- an interval are the mean, or the median, of the ends of the pairs'. With one pair it is that pair's, with more it is
-- rather too wide than too narrow. From least_datasets() of them on that have a sound pair (n_datasets), the interval is of
-- all datasets that are like these (interval_of: datasets), see over_datasets. n_seeds is the fewest of any pair.
CREATE MACRO pgr_over(per, pairs := 'pgr_by_pair') AS TABLE
WITH
    -- Grids share trainings: a pair of two of them would count twice.
    placed AS (SELECT *, row(*COLUMNS(['grid'] || per)) AS place FROM query_table(pairs)),
    -- The columns that over_datasets takes.
    sound AS (SELECT place AS grid, 0 AS method, dataset, pgr AS value FROM placed WHERE flag IS NULL),
    these AS (
        SELECT
            place, COLUMNS(['grid'] || per),
            avg(weak_acc) AS weak_acc,
            avg(transfer_acc) AS transfer_acc,
            avg(ceiling_acc) AS ceiling_acc,
            median(pgr) FILTER (flag IS NULL) AS median_pgr,
            avg(pgr) FILTER (flag IS NULL) AS mean_pgr,
            count(*) AS n_pairs,
            count(flag) AS n_flagged,
            median(pgr_low) AS low,
            median(pgr_high) AS high,
            avg(pgr_low) AS low_of_mean,
            avg(pgr_high) AS high_of_mean,
            CASE WHEN min(n_seeds) > 1 THEN 'items and seeds' ELSE 'items only' END AS of_these,
            max(n_items) AS n_items,
            count(DISTINCT dataset) FILTER (flag IS NULL) AS n_datasets,
            min(n_seeds) AS n_seeds
        FROM placed
        GROUP BY ALL
    )
SELECT
    these.* EXCLUDE (place, low, high, low_of_mean, high_of_mean, of_these, n_items, n_datasets, n_seeds),
    coalesce(median_low, low) AS median_pgr_low,
    coalesce(median_high, high) AS median_pgr_high,
    coalesce(mean_low, low_of_mean) AS mean_pgr_low,
    coalesce(mean_high, high_of_mean) AS mean_pgr_high,
    CASE WHEN median_low IS NOT NULL THEN 'datasets' ELSE of_these END AS interval_of,
    n_items, these.n_datasets, n_seeds
FROM these LEFT JOIN over_datasets('sound') AS found ON found.grid = place;

-- Over the pairs of a dataset, see pgr_over.
CREATE VIEW pgr_by_dataset AS SELECT * EXCLUDE n_datasets FROM pgr_over(['dataset', 'method']);

-- Over the pairs of all datasets, see pgr_over.
CREATE VIEW pgr_by_method AS SELECT * EXCLUDE n_items FROM pgr_over(['method']);

-- The counts that agreement is made of.
CREATE VIEW agreement_counts AS
SELECT
    grid, dataset, weak, strong, method, seed,
    sum(n) AS n,
    coalesce(sum(n) FILTER (weak_right), 0) AS weak_right,
    coalesce(sum(n) FILTER (transfer_right), 0) AS transfer_right,
    coalesce(sum(n) FILTER (supervisor_right), 0) AS supervisor_right,
    coalesce(sum(n) FILTER (agrees AND supervisor_right), 0) AS agree_right,
    coalesce(sum(n) FILTER (agrees AND NOT supervisor_right), 0) AS agree_wrong
FROM outcomes
WHERE supervisor_right IS NOT NULL
GROUP BY grid, dataset, weak, strong, method, seed;

-- How often the student gives the answer of its supervisor on the test set: at all, where the supervisor is right, and
-- where it is wrong (Burns et al. 2023, section 5.1.3). A probability of exactly 0.5 says class 0, the supervisor's as the
-- student's and whatever the truth: a supervisor that gives nothing else is right on class 0 and wrong on class 1, and
-- does not tie. With two classes they agree when both are right or both wrong,
-- so transfer_acc = agreement_right * supervisor_acc + (1 - agreement_wrong) * (1 - supervisor_acc); of more answers, two
-- that are wrong may differ. Self-training is included. The supervisor is whoever gave the labels; weak_acc is of `weak`
-- in pgr, which is another one for an ensemble.
-- The intervals, of a seed, know of test items only.
CREATE VIEW agreement AS
SELECT
    grid, dataset, weak, strong, method, seed,
    n::BIGINT AS n,
    weak_right / n AS weak_acc,
    transfer_right / n AS transfer_acc,
    (agree_right + agree_wrong) / n AS agreement,
    agree_right / nullif(supervisor_right, 0) AS agreement_right,
    agree_wrong / nullif(n - supervisor_right, 0) AS agreement_wrong,
    agreement_low, agreement_high, agreement_right_low, agreement_right_high, agreement_wrong_low, agreement_wrong_high
FROM agreement_counts
LEFT JOIN (FROM agreement_uncertainty WHERE seed IS NOT NULL) USING (grid, dataset, weak, strong, method, seed);

-- agreement over seeds; the intervals know of test items and of seeds, or, with one seed, of items only.
CREATE VIEW agreement_by_pair AS
WITH counts AS (
    SELECT
        grid, dataset, weak, strong, method,
        avg(n) AS n,
        avg(weak_right / n) AS weak_acc,
        avg(transfer_right / n) AS transfer_acc,
        -- Of each seed's rows, so that a seed counts once.
        avg(supervisor_right / n) AS supervisor_acc,
        avg(agree_right / n) AS agree_right,
        avg(agree_wrong / n) AS agree_wrong
    FROM agreement_counts
    GROUP BY grid, dataset, weak, strong, method
)
SELECT
    grid, dataset, weak, strong, method, weak_acc, transfer_acc,
    agree_right + agree_wrong AS agreement, agreement_low, agreement_high,
    agree_right / nullif(supervisor_acc, 0) AS agreement_right, agreement_right_low, agreement_right_high,
    agree_wrong / nullif(1 - supervisor_acc, 0) AS agreement_wrong, agreement_wrong_low, agreement_wrong_high,
    CASE WHEN n_seeds > 1 THEN 'items and seeds' ELSE 'items only' END AS interval_of,
    n_items, n_seeds
FROM counts
LEFT JOIN (FROM agreement_uncertainty WHERE seed IS NULL) USING (grid, dataset, weak, strong, method);

-- What there is to ask, with what it is.
CREATE MACRO tables() AS TABLE
SELECT table_name AS "table", comment FROM duckdb_tables()
WHERE NOT internal AND NOT temporary AND schema_name = 'main' AND database_name = current_database()
UNION ALL
SELECT view_name, comment FROM duckdb_views()
WHERE NOT internal AND NOT temporary AND schema_name = 'main' AND database_name = current_database()
ORDER BY "table";

-- The columns of a table or view, with what they say.
CREATE MACRO columns_of(name) AS TABLE
SELECT column_name AS "column", data_type AS "type", comment FROM duckdb_columns()
WHERE table_name = name AND NOT internal AND schema_name = 'main' AND database_name = current_database()
ORDER BY column_index;
