-- What has landed in results.duckdb, so that the next landing brings only what differs. Each statement
-- is run by `artifacts.results.landing` by its name; users' tables are in schema.sql. Of these tables, views may read
-- `landing.inputs`, what was made from what.
--
-- Temporary tables that it makes before: `stamps` (all manifests of the store), `grid_nodes` and `new_pairs` (the latest run
-- of each grid), `whole` (artifacts whose files are all there) and `with_curve` (those whose curve is).

-- name: tables
CREATE SCHEMA landing;

-- One row: by which program these tables were written, and the time of the file's last change, in whole seconds.
CREATE TABLE landing.written (version VARCHAR, second BIGINT);

-- Every manifest that was read, with the metrics that are columns of scores.
CREATE TABLE landing.manifests (
    stage VARCHAR, key VARCHAR, stamp VARCHAR, started VARCHAR,
    n BIGINT, accuracy DOUBLE, auroc DOUBLE, brier DOUBLE, ece DOUBLE,
    near_chance BOOLEAN, label_certainty DOUBLE, n_parameters BIGINT
);

-- What it was made from, in the order of its manifest.
CREATE TABLE landing.inputs (stage VARCHAR, key VARCHAR, place BIGINT, source VARCHAR);

-- Outputs of a kind that lands; another version is to land anew.
CREATE TABLE landing.outputs (
    stage VARCHAR, key VARCHAR, output VARCHAR, kind VARCHAR, version VARCHAR, size_bytes BIGINT, is_evicted BOOLEAN
);

-- Files of artifacts that have such outputs or a curve.
CREATE TABLE landing.files (stage VARCHAR, key VARCHAR, path VARCHAR, size_bytes BIGINT, is_curve BOOLEAN);

-- An artifact for each way in which a stage names its outputs, and their kinds: for kinds that change with the program.
CREATE TABLE landing.kinds (stage VARCHAR, params JSON, outputs JSON);

-- The outputs that have landed.
CREATE TABLE landing.landed (kind VARCHAR, stage VARCHAR, key VARCHAR, output VARCHAR, version VARCHAR);

-- The curves of each grid that have landed.
CREATE TABLE landing.curves (grid VARCHAR, key VARCHAR, about VARCHAR);

-- name: latest
CREATE TEMP TABLE grid_nodes (
    grid VARCHAR, is_current BOOLEAN, stage VARCHAR, key VARCHAR,
    dataset VARCHAR, kind VARCHAR, model VARCHAR, half VARCHAR, supervisor VARCHAR, method VARCHAR, seed BIGINT, split VARCHAR
);
CREATE TEMP TABLE new_pairs AS FROM pairs LIMIT 0

-- name: gone
-- Manifests that are no more what they were.
CREATE TEMP TABLE gone AS
SELECT stage, key FROM landing.manifests ANTI JOIN stamps USING (stage, key, stamp)

-- name: forget
DELETE FROM nodes USING gone WHERE gone.stage = nodes.stage AND gone.key = nodes.key;
DELETE FROM landing.inputs USING gone WHERE gone.stage = inputs.stage AND gone.key = inputs.key;
DELETE FROM landing.outputs USING gone WHERE gone.stage = outputs.stage AND gone.key = outputs.key;
DELETE FROM landing.files USING gone WHERE gone.stage = files.stage AND gone.key = files.key;
DELETE FROM landing.manifests USING gone WHERE gone.stage = manifests.stage AND gone.key = manifests.key

-- name: files
-- Of whatever may have to land.
SELECT stage, key, path, size_bytes, is_curve
FROM landing.files
SEMI JOIN (
    SELECT stage, key FROM grid_nodes UNION SELECT stage, key FROM landing.outputs WHERE kind = 'checks'
) USING (stage, key)
ORDER BY stage, key

-- name: scores
TRUNCATE scores;
INSERT INTO scores BY NAME
WITH
    -- Of the model: what the training says that it was made from, the last one where there are more.
    trained AS (
        SELECT
            inputs.stage, inputs.key,
            arg_max(made.near_chance, place) AS near_chance,
            arg_max(made.label_certainty, place) AS label_certainty,
            arg_max(made.n_parameters, place) AS n_parameters
        FROM landing.inputs AS inputs JOIN landing.manifests AS made ON made.key = inputs.source
        GROUP BY inputs.stage, inputs.key
    )
SELECT
    g.* EXCLUDE (stage, is_current), m.n, m.accuracy, m.auroc, m.brier, m.ece,
    coalesce(t.near_chance, false) AS near_chance, t.label_certainty, t.n_parameters
FROM grid_nodes AS g
SEMI JOIN (SELECT stage, key FROM landing.outputs JOIN whole USING (stage, key) WHERE kind = 'predictions')
    USING (stage, key)
JOIN landing.manifests AS m USING (stage, key)
LEFT JOIN trained AS t USING (stage, key)

-- name: wanted
CREATE TEMP TABLE wanted AS
WITH
    audits AS (
        SELECT stage, key
        FROM landing.outputs JOIN whole USING (stage, key) JOIN nodes USING (stage, key)
        WHERE outputs.kind = 'checks'
        QUALIFY row_number() OVER (PARTITION BY nodes.node ORDER BY nodes.started DESC, stage DESC, key DESC) = 1
    ),
    counting AS (
        SELECT stage, key, 'checks' AS kind FROM audits
        UNION ALL
        SELECT DISTINCT stage, key, kind
        FROM landing.outputs
        SEMI JOIN grid_nodes USING (stage, key)
        SEMI JOIN whole USING (stage, key)
        WHERE kind <> 'checks'
    )
SELECT kind, stage, key, output, version, size_bytes
FROM landing.outputs SEMI JOIN counting USING (stage, key, kind)
WHERE NOT is_evicted;

-- All outputs of an artifact land together, and go together.
CREATE TEMP TABLE stale AS
SELECT DISTINCT kind, stage, key FROM landing.landed ANTI JOIN wanted USING (kind, stage, key, output, version);
DELETE FROM landing.landed USING stale WHERE landed.kind = stale.kind AND landed.key = stale.key;
CREATE TEMP TABLE missing AS FROM wanted ANTI JOIN landing.landed USING (kind, stage, key, output, version);

-- Those whose rows are others than at the last landing.
CREATE TEMP TABLE touched AS SELECT key FROM stale UNION SELECT key FROM missing

-- name: missing
SELECT stage, key, output, size_bytes FROM missing WHERE kind = $kind ORDER BY stage, key, output

-- name: landed
INSERT INTO landing.landed SELECT kind, stage, key, output, version FROM missing

-- name: curves
CREATE TEMP TABLE wanted_curves AS
SELECT
    grid, key,
    any_value(started) || list_sort(list(row(dataset, kind, model, half, supervisor, method, seed)::VARCHAR))::VARCHAR
        AS about
FROM grid_nodes
JOIN landing.manifests USING (stage, key)
SEMI JOIN whole USING (stage, key)
SEMI JOIN with_curve USING (stage, key)
GROUP BY grid, key;

CREATE TEMP TABLE stale_curves AS SELECT DISTINCT grid, key FROM landing.curves ANTI JOIN wanted_curves USING (grid, key, about);
DELETE FROM curves USING stale_curves AS gone WHERE gone.grid = curves.grid AND gone.key = curves.key;
DELETE FROM landing.curves USING stale_curves AS gone WHERE gone.grid = curves.grid AND gone.key = curves.key

-- name: missing_curves
SELECT grid, stage, key, dataset, kind, model, half, supervisor, method, seed
FROM grid_nodes
SEMI JOIN (FROM wanted_curves ANTI JOIN landing.curves USING (grid, key)) USING (grid, key)
ORDER BY key

-- name: landed_curves
-- What could not be read is tried again the next time.
INSERT INTO landing.curves
FROM wanted_curves
ANTI JOIN landing.curves USING (grid, key)
SEMI JOIN (SELECT DISTINCT grid, key FROM curves) USING (grid, key)

-- name: current
UPDATE nodes SET is_current = NOT is_current
WHERE is_current <> ((stage, key) IN (SELECT (stage, key) FROM grid_nodes WHERE is_current))

-- name: used
TRUNCATE used;
INSERT INTO used SELECT DISTINCT grid, stage, key FROM grid_nodes ORDER BY ALL

-- name: pairs
-- A comparison is all that shares grid, dataset, weak and strong: what is derived of its pairs is derived of all together.
CREATE TEMP TABLE changed AS
WITH
    before AS (SELECT * EXCLUDE (position, gap_se, pgr_low, pgr_high) FROM pairs),
    now AS (SELECT * EXCLUDE (position, gap_se, pgr_low, pgr_high) FROM new_pairs),
    others AS (
        FROM (FROM before EXCEPT ALL FROM now)
        UNION ALL FROM (FROM now EXCEPT ALL FROM before)
        UNION ALL
        FROM now
        WHERE list_has_any(
            [weak_score, transfer_score, ceiling_score, supervisor_score, ceiling_plain_score],
            (SELECT coalesce(list(key), []) FROM touched)
        )
    )
SELECT DISTINCT grid, dataset, weak, strong FROM others;

UPDATE new_pairs SET gap_se = pairs.gap_se, pgr_low = pairs.pgr_low, pgr_high = pairs.pgr_high
FROM pairs
ANTI JOIN changed USING (grid, dataset, weak, strong)
WHERE (pairs.grid, pairs.dataset, pairs.weak, pairs.strong, pairs.method, pairs.seed)
    = (new_pairs.grid, new_pairs.dataset, new_pairs.weak, new_pairs.strong, new_pairs.method, new_pairs.seed);
TRUNCATE pairs;
INSERT INTO pairs FROM new_pairs

-- name: changed
-- Their pairs, with about how many rows each has.
SELECT list(position), sum(coalesce(n, 0))
FROM pairs
SEMI JOIN changed USING (grid, dataset, weak, strong)
LEFT JOIN (SELECT key, any_value(n) AS n FROM landing.manifests GROUP BY key) AS scored ON scored.key = pairs.transfer_score
GROUP BY grid, dataset, weak, strong
ORDER BY min(position)
