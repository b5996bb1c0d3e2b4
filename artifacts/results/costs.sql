-- What computing took: hours of stages, not of waiting, whatever ran at the same time. Tables are in schema.sql.

-- By stage and model, of each grid's latest run. hours_reused is of what was there before that run began. examples_per_s
-- is of trainings, each epoch of a row once, and of scores; NULL for other stages.
CREATE VIEW stage_costs AS
WITH costed AS (
    SELECT
        used.grid, stage, model, nodes.seconds, nodes.started < grids.started AS is_reused,
        coalesce(
            (metrics ->> '$.n_train')::DOUBLE * (params ->> '$.training.epochs')::DOUBLE, (metrics ->> '$.n')::DOUBLE
        ) AS n_examples
    FROM used JOIN nodes USING (stage, key) JOIN grids USING (grid)
)
SELECT
    grid, stage, model,
    count(*) AS n,
    count(*) FILTER (is_reused) AS n_reused,
    sum(seconds) / 3600 AS hours,
    coalesce(sum(seconds) FILTER (is_reused), 0) / 3600 AS hours_reused,
    sum(n_examples) / nullif(sum(seconds) FILTER (n_examples IS NOT NULL), 0) AS examples_per_s
FROM costed
GROUP BY grid, stage, model;

-- By grid. hours is of all that its latest run has; hours_computed were spent by that run, hours_reused before
-- it: caching saved those. hours_unshared is what pairs would have cost if each were made by itself, with a supervisor,
-- labels, a student and a ceiling of its own, and data prepared for it; hours_of_pairs is the same where each artifact
-- counts once, so that sharing saved the difference. Pretrained models, which are of no dataset, are in neither.
CREATE VIEW costs AS
WITH RECURSIVE
    behind AS (
        SELECT
            grid, position,
            unnest([weak_score, transfer_score, ceiling_score, supervisor_score, ceiling_plain_score]) AS key
        FROM pairs
        UNION
        SELECT grid, position, source FROM behind JOIN landing.inputs USING (key)
    ),
    -- Of one key, whichever stage has it.
    known AS (SELECT key, max(seconds) AS seconds FROM nodes WHERE dataset IS NOT NULL GROUP BY key),
    alone AS (SELECT grid, sum(seconds) / 3600 AS hours_unshared FROM behind JOIN known USING (key) GROUP BY grid),
    together AS (
        SELECT grid, sum(seconds) / 3600 AS hours_of_pairs
        FROM (SELECT DISTINCT grid, key FROM behind) JOIN known USING (key)
        GROUP BY grid
    ),
    spent AS (
        SELECT grid, sum(n)::BIGINT AS n_stages, sum(hours) AS hours, sum(hours_reused) AS hours_reused
        FROM stage_costs
        GROUP BY grid
    )
SELECT
    grid, n_stages, hours, hours - hours_reused AS hours_computed, hours_reused,
    hours_of_pairs, hours_unshared, hours_unshared - hours_of_pairs AS hours_saved_by_sharing
FROM spent
LEFT JOIN alone USING (grid)
LEFT JOIN together USING (grid);
