-- The statements that fill results.duckdb; `artifacts.results.landing` runs each by its name. Tables are in schema.sql.
--
-- Those that are named for a kind of output copy Parquet files of that kind: $files lists them, and `files` says which
-- stage, key and output each is.

-- name: predictions
-- Scores of before lack columns: without a group, a row is a group of its own, and class 1 is their answer where
-- prob > 0.5.
INSERT INTO predictions
WITH
    copied AS (
        SELECT
            NULL::VARCHAR AS "group", NULL::VARCHAR AS answer, NULL::BOOLEAN AS "right", NULL::DOUBLE AS prob,
            NULL::BIGINT AS gt_label
        WHERE false
        UNION ALL BY NAME
        FROM read_parquet($files, filename = true, union_by_name = true)
    ),
    answered AS (
        SELECT * REPLACE (coalesce(answer, CASE WHEN prob > 0.5 THEN '1' WHEN prob <= 0.5 THEN '0' END) AS answer)
        FROM copied
    )
SELECT
    files.key, answered.id, answered.group, answered.answer,
    coalesce(answered.right, answered.answer = answered.gt_label::VARCHAR),
    answered.prob
FROM answered JOIN files ON files.file = answered.filename

-- name: labels
-- Those of more than two classes have no probability of class 1.
INSERT INTO labels
SELECT files.key, files.output, rows.id, rows.weak_prob, rows.answer
FROM (
    SELECT NULL::DOUBLE AS weak_prob, NULL::VARCHAR AS answer WHERE false
    UNION ALL BY NAME FROM read_parquet($files, filename = true, union_by_name = true)
) AS rows
JOIN files ON files.file = rows.filename

-- name: texts
INSERT INTO texts
SELECT files.key, rows.id, rows.seed, rows.turn, rows.role, rows.side, rows.text, rows.is_cut, rows.n_tokens
FROM read_parquet($files, filename = true) AS rows JOIN files ON files.file = rows.filename

-- name: checks
INSERT INTO audits
SELECT
    nodes.dataset, nodes.params ->> '$.source.kind', nodes.started,
    rows.split, rows.check, rows.value, rows.threshold, rows.verdict, rows.detail, nodes.key
FROM read_parquet($files, filename = true) AS rows
JOIN files ON files.file = rows.filename
JOIN nodes USING (stage, key)

-- name: involved
-- What follows is run on the pairs of some comparisons at a time, whose positions are in `batch`. These are their rows
-- alone; under the name of the table they stand for it.
CREATE TEMP TABLE predictions AS
FROM predictions
SEMI JOIN (
    SELECT DISTINCT unnest([weak_score, transfer_score, ceiling_score, supervisor_score]) AS key
    FROM pairs SEMI JOIN batch USING (position)
) USING (key)

-- name: judged
-- Which models of a pair are right on which test row, whether the student answers as the labels that it was given, and of
-- which item, that is group, the row is.
CREATE TEMP TABLE judged AS
SELECT
    pairs.position,
    coalesce(weak.group, weak.id) AS item,
    weak.right AS weak_right,
    transfer.right AS transfer_right,
    ceiling.right AS ceiling_right,
    transfer.answer = given.answer AS agrees,
    given.right AS supervisor_right
FROM pairs
SEMI JOIN batch USING (position)
JOIN predictions AS weak ON weak.key = pairs.weak_score
JOIN predictions AS transfer ON transfer.key = pairs.transfer_score AND transfer.id = weak.id
LEFT JOIN predictions AS given ON given.key = pairs.supervisor_score AND given.id = weak.id
LEFT JOIN predictions AS ceiling ON ceiling.key = pairs.ceiling_score AND ceiling.id = weak.id

-- name: outcomes
INSERT INTO outcomes
SELECT grid, dataset, weak, strong, method, seed, weak_right, transfer_right, ceiling_right, agrees, supervisor_right, count(*)
FROM judged JOIN pairs USING (position)
GROUP BY ALL
ORDER BY ALL
