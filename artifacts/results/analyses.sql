-- Views that look at errors, confidence and calibration of each pair. PGR and agreement are in views.sql, tables in
-- schema.sql. All are of the test set, and of two classes where they read a probability.

-- Of n rows, of which one model has a wrong and another b, ab of them in common: the correlation of their errors, and
-- Cohen's kappa of being wrong. phi is NULL where one of them is never wrong, or always; kappa where both are so.
CREATE MACRO phi(n, a, b, ab) AS (n * ab - a * b) / nullif(sqrt(a * (n - a) * b * (n - b)), 0);
CREATE MACRO kappa(n, a, b, ab) AS
    1 - (a + b - 2 * ab) / nullif(n * (1 - (a * b + (n - a) * (n - b)) / (n * n)), 0);

-- What becomes of a supervisor's errors. Of the rows that it has wrong: how many the student answers as it does
-- (inheritance) and how many right (correction); with two classes they add up to 1. Of those that it has right, how many
-- the student has wrong (new_errors). phi and kappa are of the errors of supervisor and student; the control is the
-- ceiling, which never saw the supervisor: what both have in common with it is the difficulty of the rows.
CREATE VIEW errors AS
WITH counts AS (
    SELECT
        grid, dataset, weak, strong, method, seed,
        sum(n)::DOUBLE AS n,
        coalesce(sum(n) FILTER (NOT supervisor_right), 0)::DOUBLE AS given,
        coalesce(sum(n) FILTER (NOT transfer_right), 0)::DOUBLE AS student,
        coalesce(sum(n) FILTER (NOT supervisor_right AND NOT transfer_right), 0)::DOUBLE AS common,
        coalesce(sum(n) FILTER (NOT supervisor_right AND agrees), 0)::DOUBLE AS inherited,
        CASE WHEN bool_and(ceiling_right IS NOT NULL) THEN sum(n) END::DOUBLE AS n_control,
        coalesce(sum(n) FILTER (NOT ceiling_right), 0)::DOUBLE AS control,
        coalesce(sum(n) FILTER (NOT supervisor_right AND NOT ceiling_right), 0)::DOUBLE AS control_common
    FROM outcomes
    WHERE supervisor_right IS NOT NULL
    GROUP BY grid, dataset, weak, strong, method, seed
)
SELECT
    grid, dataset, weak, strong, method, seed, n::BIGINT AS n, given::BIGINT AS n_wrong,
    inherited / nullif(given, 0) AS inheritance,
    (given - common) / nullif(given, 0) AS correction,
    (student - common) / nullif(n - given, 0) AS new_errors,
    phi(n, given, student, common) AS phi,
    phi(n_control, given, control, control_common) AS phi_control,
    kappa(n, given, student, common) AS kappa,
    kappa(n_control, given, control, control_common) AS kappa_control
FROM counts;

-- Ensembles of the latest runs, by split: how good they are, how good their members are on average, and how often two of
-- these differ.
CREATE VIEW ensembles AS
SELECT
    dataset, supervisor, seed, split, key,
    (metrics ->> '$.n_members')::BIGINT AS n_members,
    (metrics ->> ('$.accuracy_' || split))::DOUBLE AS accuracy,
    (metrics ->> ('$.member_accuracy_' || split))::DOUBLE AS member_accuracy,
    (metrics ->> ('$.disagreement_' || split))::DOUBLE AS disagreement
FROM nodes
JOIN (SELECT DISTINCT key, split FROM labels) USING (key)
WHERE metrics ->> '$.n_members' IS NOT NULL;

-- How salient the truth, a supervisor's labels, and their errors are to a model before any finetuning: of a linear probe on
-- its features, fitted on the student's rows, the accuracy on test beyond that of naming one class (gain), and the AUROC;
-- and the bits per row of the online code of Voita and Titov 2020 (arXiv 2003.12298), 1 where nothing is learned. Of what
-- was measured latest, whichever grid asked for it.
CREATE VIEW salience AS
SELECT
    dataset, supervisor, model, seed, what,
    (metrics ->> ('$.' || what || '_gain'))::DOUBLE AS gain,
    (metrics ->> ('$.' || what || '_auroc'))::DOUBLE AS auroc,
    (metrics ->> ('$.' || what || '_bits'))::DOUBLE AS bits
FROM (
    SELECT * FROM nodes WHERE metrics ->> '$.errors_bits' IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY node ORDER BY started DESC, key) = 1
)
CROSS JOIN (SELECT unnest(['truth', 'labels', 'errors']) AS what);

-- The probabilities that supervisor and student give to class 1 on each row, and its truth.
CREATE VIEW paired_probs AS
SELECT
    pairs.grid, pairs.dataset, pairs.weak, pairs.strong, pairs.method, pairs.seed, given.id,
    given.prob AS given_prob, given.right AS given_right,
    student.prob AS student_prob, student.right AS student_right,
    (given.right = (given.answer = '1'))::INTEGER AS truth
FROM pairs
JOIN predictions AS given ON given.key = pairs.supervisor_score
JOIN predictions AS student ON student.key = pairs.transfer_score AND student.id = given.id
WHERE given.prob IS NOT NULL AND student.prob IS NOT NULL;

-- Correction and new errors by how sure the supervisor is: |2 prob - 1|, in fifths.
CREATE VIEW correction_by_confidence AS
SELECT
    grid, dataset, weak, strong, method, seed, bin / 5 AS confidence_from, (bin + 1) / 5 AS confidence_to,
    count(*) AS n,
    count(*) FILTER (NOT given_right) AS n_wrong,
    avg(student_right::INTEGER) FILTER (NOT given_right) AS correction,
    avg((NOT student_right)::INTEGER) FILTER (given_right) AS new_errors
FROM (SELECT *, least(floor(abs(2 * given_prob - 1) * 5), 4) AS bin FROM paired_probs)
GROUP BY ALL;

-- By how much the student departs from its supervisor (misfit), and by how much it is better (gain), both as mean squared
-- differences of probabilities: for squared loss and convex classes of students gain is at least misfit (Charikar et al.
-- 2024, arXiv 2405.15116). gain_per_misfit is 1 or more where that holds.
CREATE VIEW misfit AS
SELECT
    grid, dataset, weak, strong, method, seed,
    avg((student_prob - given_prob) ** 2) AS misfit,
    avg((given_prob - truth) ** 2 - (student_prob - truth) ** 2) AS gain,
    avg((given_prob - truth) ** 2 - (student_prob - truth) ** 2) / nullif(avg((student_prob - given_prob) ** 2), 0)
        AS gain_per_misfit
FROM paired_probs
GROUP BY ALL;

-- How often class 1 is the truth where a model, or the labels of a supervisor, say that it is so likely: fifteen bins, as
-- those of scores.ece.
CREATE VIEW calibration AS
SELECT
    grid, dataset, kind, model, half, supervisor, method, seed, key, bin / 15 AS prob_from, (bin + 1) / 15 AS prob_to,
    count(*) AS n,
    avg(prob) AS mean_prob,
    avg(truth) AS share_of_class_1
FROM (
    SELECT scores.*, prob, ("right" = (answer = '1'))::INTEGER AS truth, least(floor(prob * 15), 14) AS bin
    FROM scores JOIN predictions USING (key)
    WHERE prob IS NOT NULL
)
GROUP BY ALL;

-- How inheritance goes with the size of the student, over the students of a supervisor: the slope against the natural
-- logarithm of the number of parameters, its standard error (of three sizes on), and over how many sizes. Below 0, larger
-- students repeat fewer errors.
CREATE VIEW inheritance_by_size AS
WITH points AS (
    SELECT errors.grid, errors.dataset, errors.weak, errors.method, errors.seed, inheritance, ln(n_parameters) AS size
    FROM errors
    JOIN pairs USING (grid, dataset, weak, strong, method, seed)
    JOIN (SELECT DISTINCT key, n_parameters FROM scores) AS scored ON scored.key = pairs.transfer_score
    WHERE weak <> strong AND inheritance IS NOT NULL AND n_parameters IS NOT NULL
)
SELECT
    grid, dataset, weak, method, seed,
    regr_slope(inheritance, size) AS slope,
    CASE WHEN count(*) > 2 THEN
        sqrt(greatest(regr_syy(inheritance, size) - regr_sxy(inheritance, size) ** 2 / regr_sxx(inheritance, size), 0)
            / (count(*) - 2) / regr_sxx(inheritance, size))
    END AS slope_se,
    count(*) AS n_sizes
FROM points
GROUP BY grid, dataset, weak, method, seed
HAVING count(DISTINCT size) > 1;

-- Published numbers and those of the same dataset and method here: of a PGR the median over the sound pairs, of a model of
-- the same name that was trained on ground truth the mean over seeds; n says how many. Pairs are those of a supervisor that
-- is a model, or, where the published one is not, of the supervisor of its name. Models differ, and so will they.
CREATE VIEW beside_published AS
WITH
    models AS (
        SELECT grid, dataset, model, avg(accuracy) AS accuracy, avg(auroc) AS auroc, count(*) AS n
        FROM scores
        WHERE kind = 'gt' AND supervisor IS NULL
        GROUP BY grid, dataset, model
    ),
    supervised AS (
        SELECT pgr_by_pair.*, CASE WHEN model IS NULL THEN weak ELSE '' END AS supervisor
        FROM pgr_by_pair
        LEFT JOIN models ON (models.grid, models.dataset, model) = (pgr_by_pair.grid, pgr_by_pair.dataset, weak)
    ),
    -- Each dataset has one source in a grid.
    sources AS (
        SELECT grid, dataset, any_value(params ->> '$.source.kind') AS our_source
        FROM used JOIN nodes USING (stage, key)
        WHERE stage = 'prepare'
        GROUP BY grid, dataset
    ),
    both_said AS (
        SELECT
            p.*, grid, median_pgr AS ours, median_pgr_low AS ours_low, median_pgr_high AS ours_high, n_pairs - n_flagged AS n
        FROM published AS p JOIN pgr_over(['dataset', 'method', 'supervisor'], pairs := 'supervised') AS over_pairs
        ON (over_pairs.dataset, over_pairs.method, over_pairs.supervisor) = (p.dataset, p.method, coalesce(p.supervisor, ''))
        WHERE p.metric IN ('pgr', 'pgr_auroc')
        UNION ALL
        SELECT p.*, s.grid, s.ours, NULL, NULL, s.n
        FROM published AS p
        JOIN models UNPIVOT (ours FOR metric IN (accuracy, auroc)) AS s
        ON (s.dataset, s.model, s.metric) = (p.dataset, p.weak, p.metric)
        WHERE p.method IS NULL
    )
SELECT
    source, dataset, weak, supervisor, strong, method, metric, value AS published, certainty, note,
    grid, ours, ours_low, ours_high, n, our_source
FROM both_said LEFT JOIN sources USING (grid, dataset);
