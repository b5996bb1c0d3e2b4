-- Methods compared pair by pair, when it is asked: of each method in `asked` (grid, method, reference) its difference from
-- its reference, on the seeds that both have, in accuracy of the student and in PGR. Leaves `differences`. Run by
-- `artifacts.results.comparisons`; the interval is `crossed`, see intervals.sql.

-- Self-training has no PGR, and is left out.
CREATE TEMP TABLE compared AS
SELECT
    min(m.position) OVER (PARTITION BY m.grid, m.dataset, m.weak, m.strong, m.method) AS pair,
    m.position AS seed, m.grid, m.dataset, m.weak, m.strong, m.method, r.method AS reference,
    m.weak_score AS w, m.transfer_score AS t, m.ceiling_score AS c,
    r.weak_score AS other_w, r.transfer_score AS other_t, r.ceiling_score AS other_c
FROM pairs AS m
JOIN asked USING (grid, method)
JOIN pairs AS r
    ON (r.grid, r.dataset, r.weak, r.strong, r.seed) = (m.grid, m.dataset, m.weak, m.strong, m.seed)
    AND r.method = asked.reference
WHERE
    m.weak <> m.strong
    AND m.transfer_score IN (SELECT key FROM predictions)
    AND r.transfer_score IN (SELECT key FROM predictions);

-- How many rows of an item a model has right.
CREATE TEMP TABLE answered AS
SELECT key, coalesce("group", id) AS item, count(*) AS n_rows, count(*) FILTER ("right") AS n_right
FROM predictions
WHERE key IN (SELECT unnest([w, t, c, other_w, other_t, other_c]) FROM compared)
GROUP BY key, item;

-- Where both methods have the same supervisor and ceiling, the difference of their PGRs is that of their accuracies as a
-- part of one gap, a ratio as a PGR is. Elsewhere it is of two ratios, and linear in all six models about its value, which
-- is `shift` (the delta method). Unsound pairs have none.
CREATE TEMP TABLE gaps AS
WITH
    rates AS (SELECT key, sum(n_right) / sum(n_rows) AS rate FROM answered GROUP BY key),
    means AS (
        SELECT
            pair,
            bool_and(w = other_w AND c = other_c) AS is_one,
            avg(c.rate - w.rate) AS gap,
            avg(t.rate - w.rate) / gap AS ratio,
            avg(oc.rate - ow.rate) AS other_gap,
            avg(ot.rate - ow.rate) / other_gap AS other_ratio
        FROM compared
        JOIN rates AS w ON w.key = compared.w
        JOIN rates AS t ON t.key = compared.t
        JOIN rates AS c ON c.key = compared.c
        JOIN rates AS ow ON ow.key = other_w
        JOIN rates AS ot ON ot.key = other_t
        JOIN rates AS oc ON oc.key = other_c
        GROUP BY pair
    ),
    sound AS (SELECT grid, dataset, weak, strong, method FROM pgr_by_pair WHERE flag IS NULL)
SELECT DISTINCT means.*, CASE WHEN is_one THEN 0 ELSE ratio - other_ratio END AS shift
FROM means
JOIN compared USING (pair)
JOIN sound AS m USING (grid, dataset, weak, strong, method)
JOIN sound AS r ON
    (r.grid, r.dataset, r.weak, r.strong, r.method)
    = (compared.grid, compared.dataset, compared.weak, compared.strong, reference)
WHERE gap > 0 AND other_gap > 0;

-- What a right answer of each model counts in part and whole.
CREATE TEMP TABLE terms AS
WITH
    listed AS (
        SELECT 'accuracy' AS measure, pair, seed, [t, other_t] AS keys, [1, -1]::DOUBLE[] AS parts, [0, 0]::DOUBLE[] AS wholes
        FROM compared
        UNION ALL
        SELECT
            'PGR', pair, seed, [t, other_t, c, w, other_c, other_w],
            CASE
                WHEN is_one THEN [1, -1, 0, 0, 0, 0]
                ELSE [
                    1 / gap, -1 / other_gap, -ratio / gap, (ratio - 1) / gap,
                    other_ratio / other_gap, (1 - other_ratio) / other_gap
                ]
            END,
            CASE WHEN is_one THEN [0, 0, 1, -1, 0, 0] ELSE [0, 0, 0, 0, 0, 0] END
        FROM compared JOIN gaps USING (pair)
    )
SELECT measure, pair, seed, unnest(keys) AS key, unnest(parts) AS part, unnest(wholes) AS whole FROM listed;

CREATE TEMP TABLE differences AS
WITH
    sums AS (
        SELECT
            2 * terms.pair + (measure = 'PGR')::INTEGER AS pair, seed, item,
            max(n_rows) AS n_rows,
            sum(part * n_right) + CASE WHEN measure = 'PGR' THEN any_value(shift) * max(n_rows) ELSE 0 END AS part,
            CASE WHEN measure = 'PGR' AND any_value(is_one) THEN sum(whole * n_right) ELSE max(n_rows) END AS whole
        FROM terms JOIN answered USING (key) LEFT JOIN gaps USING (pair)
        GROUP BY measure, terms.pair, seed, item
        -- An item that only some of the models were asked says nothing of their difference.
        HAVING count(*) = CASE WHEN measure = 'PGR' THEN 6 ELSE 2 END
    )
SELECT
    pairs.position, grid, dataset, weak, strong, asked.reference, method,
    CASE WHEN pair % 2 = 1 THEN 'PGR' ELSE 'accuracy' END AS measure,
    ratio AS difference, low AS difference_low, high AS difference_high,
    CASE WHEN n_seeds > 1 THEN 'items and seeds' ELSE 'items only' END AS interval_of,
    n_items, n_seeds, n_rows, parts
FROM crossed('sums')
JOIN pairs ON pairs.position = pair // 2
JOIN asked USING (grid, method);
