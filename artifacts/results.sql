-- The schema of results.duckdb: tables that `artifacts.results` fills, then views over them. No data, no functions.
--
-- Names: weak is the supervisor, strong the student; transfer is the student trained on weak labels, ceiling the
-- strong model trained on ground truth. Accuracies are fractions. Class 1 is predicted when prob > 0.5.

-- Every artifact of the store, whichever grid made it and however long ago.
CREATE TABLE nodes (
    stage VARCHAR,
    key VARCHAR,
    node VARCHAR,             -- what it is, whatever its code and bytes
    dataset VARCHAR,
    kind VARCHAR,             -- of a score: gt or w2s
    model VARCHAR,
    half VARCHAR,
    supervisor VARCHAR,
    method VARCHAR,
    seed BIGINT,
    labels JSON,
    params JSON,
    metrics JSON,
    started TIMESTAMP,        -- UTC
    seconds DOUBLE,
    torch VARCHAR,
    transformers VARCHAR,
    host VARCHAR,
    device VARCHAR,
    size_bytes BIGINT,        -- on disk now
    evicted BOOLEAN           -- whether an output was removed to save space
);

-- One row per score of each grid's latest run that is done.
CREATE TABLE scores (
    grid VARCHAR,
    dataset VARCHAR,
    kind VARCHAR,             -- gt: trained on ground truth; w2s: trained on weak labels
    model VARCHAR,
    half VARCHAR,
    supervisor VARCHAR,       -- NULL for gt, as is method
    method VARCHAR,
    seed BIGINT,
    split VARCHAR,
    n BIGINT,
    accuracy DOUBLE,
    auroc DOUBLE,             -- NULL when the split has one class
    brier DOUBLE,
    ece DOUBLE,
    key VARCHAR
);

-- The rows behind those scores, and behind the trainings on weak labels.
CREATE TABLE predictions (key VARCHAR, id VARCHAR, prob DOUBLE, gt_label TINYINT);
CREATE TABLE weak_labels (key VARCHAR, split VARCHAR, id VARCHAR, weak_prob DOUBLE);

-- What is known of the data of each audit: the newest of its kind, whichever grid made it. Facts have no verdict.
CREATE TABLE audits (
    dataset VARCHAR,
    source VARCHAR,           -- folder, hub or offline
    started TIMESTAMP,        -- UTC
    split VARCHAR,            -- train and test are the raw files, all is across splits
    "check" VARCHAR,
    value DOUBLE,
    threshold DOUBLE,         -- beyond which it is not ok
    verdict VARCHAR,          -- ok, warn or fail
    detail VARCHAR,
    key VARCHAR
);

-- How the trainings of each grid's latest run went, one row per optimizer step.
CREATE TABLE curves (
    grid VARCHAR,
    dataset VARCHAR,
    kind VARCHAR,             -- gt, w2s, or pretrain
    model VARCHAR,
    half VARCHAR,
    supervisor VARCHAR,
    method VARCHAR,
    seed BIGINT,
    step BIGINT,              -- from 1
    fraction DOUBLE,          -- of the training, after this step
    loss DOUBLE,              -- of the effective batch, in nats
    lr DOUBLE,
    alpha DOUBLE,             -- weight of the student's own labels, where the loss has one
    examples_per_s DOUBLE,    -- over some ten steps
    tokens_per_s DOUBLE,      -- without padding
    gt_accuracy DOUBLE,       -- on validation, against ground truth; NULL except at runtime.eval_at and the end
    label_accuracy DOUBLE     -- on validation, against labels of the kind it is trained on
);

-- The latest run of each grid, which scores and pairs are of.
CREATE TABLE grids (
    grid VARCHAR,
    run VARCHAR,
    started TIMESTAMP,        -- UTC
    state VARCHAR             -- running, complete, failed or interrupted, when this file was built
);

-- What each grid compares: three keys of scores, NULL while unknown; self-training (weak = strong) has no ceiling.
CREATE TABLE pairs (
    position BIGINT,          -- in the order of the grid files, so that ladders sort as they were written
    grid VARCHAR,
    dataset VARCHAR,
    weak VARCHAR,
    strong VARCHAR,
    method VARCHAR,
    seed BIGINT,
    weak_score VARCHAR,
    transfer_score VARCHAR,
    ceiling_score VARCHAR,
    gap_se DOUBLE             -- paired standard error of ceiling - weak, see artifacts/results.py
);

-- How many test items each combination of right and wrong answers has. Joined by id.
CREATE TABLE outcomes (
    grid VARCHAR,
    dataset VARCHAR,
    weak VARCHAR,
    strong VARCHAR,
    method VARCHAR,
    seed BIGINT,
    weak_right BOOLEAN,
    transfer_right BOOLEAN,
    ceiling_right BOOLEAN,    -- NULL where there is no ceiling
    n BIGINT
);

-- Uncertainty of each pair over its seeds together, as far as it comes from the choice of test items.
CREATE TABLE uncertainty (
    grid VARCHAR,
    dataset VARCHAR,
    weak VARCHAR,
    strong VARCHAR,
    method VARCHAR,
    gap_se DOUBLE,
    pgr_low DOUBLE,           -- 95 % interval of the ratio of means
    pgr_high DOUBLE
);

-- Performance gap recovered, (transfer - weak) / (ceiling - weak): Burns et al. 2023 (arXiv 2312.09390), section 3.
-- flag: undefined where ceiling <= weak (pgr is NULL); unstable where the gap is below two of its standard errors, or
-- that error is unknown; NULL where the number is sound.
CREATE VIEW pgr AS
WITH
    accuracies AS (
        -- Two nodes can share a key (a weight of 0 on a loss's extra term trains the same model): count it once.
        SELECT DISTINCT key, accuracy FROM scores
    ),
    compared AS (
        SELECT
            p.grid, p.dataset, p.weak, p.strong, p.method, p.seed, p.gap_se,
            w.accuracy AS weak_acc,
            t.accuracy AS transfer_acc,
            c.accuracy AS ceiling_acc,
            c.accuracy - w.accuracy AS gap
        FROM pairs AS p
        JOIN accuracies AS w ON w.key = p.weak_score
        JOIN accuracies AS t ON t.key = p.transfer_score
        JOIN accuracies AS c ON c.key = p.ceiling_score  -- which self-training has not
    )
SELECT
    grid, dataset, weak, strong, method, seed, weak_acc, transfer_acc, ceiling_acc, gap,
    CASE WHEN gap > 0 THEN (transfer_acc - weak_acc) / gap END AS pgr,
    CASE
        WHEN gap <= 0 THEN 'undefined'
        WHEN gap_se IS NULL OR gap < 2 * gap_se THEN 'unstable'
    END AS flag
FROM compared;

-- Over seeds. pgr is the ratio of the means; pgr_seed_mean the mean of the PGR of each sound seed. flag is by the
-- rule above, on the means. The interval is given where flag is NULL: elsewhere the ratio has none worth printing.
CREATE VIEW pgr_by_pair AS
WITH
    means AS (
        SELECT
            grid, dataset, weak, strong, method,
            avg(weak_acc) AS weak_acc,
            avg(transfer_acc) AS transfer_acc,
            avg(ceiling_acc) AS ceiling_acc,
            avg(gap) AS gap,
            avg(pgr) FILTER (flag IS NULL) AS pgr_seed_mean,
            count(*) AS n_seeds,
            count(flag) AS n_flagged
        FROM pgr
        GROUP BY grid, dataset, weak, strong, method
    ),
    flagged AS (
        SELECT
            *,
            CASE
                WHEN gap <= 0 THEN 'undefined'
                WHEN gap_se IS NULL OR gap < 2 * gap_se THEN 'unstable'
            END AS flag
        FROM means
        LEFT JOIN uncertainty USING (grid, dataset, weak, strong, method)
    )
SELECT
    grid, dataset, weak, strong, method, weak_acc, transfer_acc, ceiling_acc, gap,
    CASE WHEN gap > 0 THEN (transfer_acc - weak_acc) / gap END AS pgr,
    CASE WHEN flag IS NULL THEN pgr_low END AS pgr_low,
    CASE WHEN flag IS NULL THEN pgr_high END AS pgr_high,
    pgr_seed_mean, n_seeds, n_flagged, flag
FROM flagged;

-- Over the pairs of a dataset, and over the pairs of all datasets: PGR of the sound ones; accuracies of all.
CREATE VIEW pgr_by_dataset AS
SELECT
    grid, dataset, method,
    avg(weak_acc) AS weak_acc,
    avg(transfer_acc) AS transfer_acc,
    avg(ceiling_acc) AS ceiling_acc,
    median(pgr) FILTER (flag IS NULL) AS median_pgr,
    avg(pgr) FILTER (flag IS NULL) AS mean_pgr,
    count(*) AS n_pairs,
    count(flag) AS n_flagged
FROM pgr_by_pair
GROUP BY grid, dataset, method;

CREATE VIEW pgr_by_method AS
SELECT
    grid, method,
    avg(weak_acc) AS weak_acc,
    avg(transfer_acc) AS transfer_acc,
    avg(ceiling_acc) AS ceiling_acc,
    median(pgr) FILTER (flag IS NULL) AS median_pgr,
    avg(pgr) FILTER (flag IS NULL) AS mean_pgr,
    count(*) AS n_pairs,
    count(flag) AS n_flagged
FROM pgr_by_pair
GROUP BY grid, method;

-- How often the student says what its supervisor says on the test set: at all, where the supervisor is right, and
-- where it is wrong (Burns et al. 2023, section 5.1.3). With two classes they agree when both are right or both wrong,
-- so transfer_acc = agreement_right * weak_acc + (1 - agreement_wrong) * (1 - weak_acc). Self-training is included.
CREATE VIEW agreement AS
WITH counts AS (
    SELECT
        grid, dataset, weak, strong, method, seed,
        sum(n) AS n,
        coalesce(sum(n) FILTER (weak_right), 0) AS weak_right,
        coalesce(sum(n) FILTER (transfer_right), 0) AS transfer_right,
        coalesce(sum(n) FILTER (weak_right AND transfer_right), 0) AS both_right,
        coalesce(sum(n) FILTER (NOT weak_right AND NOT transfer_right), 0) AS both_wrong
    FROM outcomes
    GROUP BY grid, dataset, weak, strong, method, seed
)
SELECT
    grid, dataset, weak, strong, method, seed,
    n::BIGINT AS n,
    weak_right / n AS weak_acc,
    transfer_right / n AS transfer_acc,
    (both_right + both_wrong) / n AS agreement,
    both_right / nullif(weak_right, 0) AS agreement_right,
    both_wrong / nullif(n - weak_right, 0) AS agreement_wrong
FROM counts;
