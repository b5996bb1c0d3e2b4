-- How far PGR and agreement of each pair are to be trusted. Reads `judged` (see fill.sql) and `pairs`, fills
-- `pairs.gap_se` with the interval beside it, `uncertainty` and `agreement_uncertainty`, by the rules in intervals.sql.

-- What models have right on each item, and where student and supervisor agree; place is the first position of the pair,
-- whatever its seed.
CREATE TEMP TABLE item_sums AS
SELECT
    position,
    any_value(place) AS place,
    item,
    count(ceiling_right) AS n_compared,
    sum(transfer_right::INTEGER - weak_right::INTEGER) FILTER (ceiling_right IS NOT NULL)::DOUBLE AS gain,
    sum(ceiling_right::INTEGER - weak_right::INTEGER)::DOUBLE AS gap,
    count(supervisor_right) AS n_given,
    count(*) FILTER (supervisor_right) AS n_right,
    count(*) FILTER (agrees AND supervisor_right IS NOT NULL) AS n_agree,
    count(*) FILTER (agrees AND supervisor_right) AS n_agree_right
FROM judged
JOIN (
    SELECT position, min(position) OVER (PARTITION BY grid, dataset, weak, strong, method) AS place FROM pairs
) AS places USING (position)
GROUP BY position, item;

-- Of each seed, whose position is doubled, and of all seeds. To plan two queries of intervals takes longer than to answer
-- one.
CREATE TEMP TABLE recovered AS
WITH
    sums AS NOT MATERIALIZED (
        SELECT
            unnest([2 * position, 2 * place + 1]) AS pair, unnest([0, position]) AS seed,
            item, n_compared AS n_rows, gain AS part, gap AS whole
        FROM item_sums
        WHERE n_compared > 0
    )
FROM crossed('sums');

-- Of one seed, from items alone. Paired: an item that is hard for both models adds nothing to it.
UPDATE pairs SET gap_se = whole_se, pgr_low = low, pgr_high = high
FROM recovered
WHERE pair = 2 * position;

INSERT INTO uncertainty
SELECT grid, dataset, weak, strong, method, n_items, n_seeds, whole_se, least_whole, low, high
FROM recovered JOIN pairs ON pair = 2 * position + 1
ORDER BY pair;

-- A share of which all is known to agree, or none, has no spread: its interval is the exact binomial one, of as many
-- items (Clopper and Pearson 1934). Others end at 0 and 1.
CREATE TEMP MACRO share_low(share, low, n) AS
    CASE WHEN share = 1 THEN 0.025 ** (1 / n) WHEN low IS NOT NULL THEN greatest(low, 0) END;
CREATE TEMP MACRO share_high(share, high, n) AS
    CASE WHEN share = 0 THEN 1 - 0.025 ** (1 / n) WHEN high IS NOT NULL THEN least(high, 1) END;

-- Of each seed, and of all seeds (seed is NULL).
INSERT INTO agreement_uncertainty
WITH
    levels AS NOT MATERIALIZED (
        SELECT * EXCLUDE place, 2 * position AS pair, 0 AS seed FROM item_sums WHERE n_given > 0
        UNION ALL BY NAME
        SELECT * EXCLUDE place, 2 * place + 1 AS pair, position AS seed FROM item_sums WHERE n_given > 0
    ),
    -- Overall, where the supervisor is right, and where it is wrong: to plan three queries of intervals takes longer than
    -- to answer one.
    sums AS NOT MATERIALIZED (
        SELECT
            3 * pair + kind AS pair, seed, item, n_given AS n_rows,
            CASE kind WHEN 0 THEN n_agree WHEN 1 THEN n_agree_right ELSE n_agree - n_agree_right END AS part,
            CASE kind WHEN 0 THEN n_given WHEN 1 THEN n_right ELSE n_given - n_right END AS whole
        FROM levels CROSS JOIN range(3) AS kinds(kind)
    ),
    found AS MATERIALIZED (SELECT * REPLACE (pair // 3 AS pair), pair % 3 AS kind FROM crossed('sums')),
    counts AS (
        SELECT
            pair,
            count(DISTINCT item) FILTER (n_right > 0) AS n_items_right,
            count(DISTINCT item) FILTER (n_right < n_given) AS n_items_wrong
        FROM levels
        GROUP BY pair
    )
SELECT
    grid, dataset, weak, strong, method,
    CASE WHEN a.pair % 2 = 0 THEN pairs.seed END,
    a.n_items, a.n_seeds,
    share_low(a.ratio, a.low, a.n_items), share_high(a.ratio, a.high, a.n_items),
    share_low(r.ratio, r.low, n_items_right), share_high(r.ratio, r.high, n_items_right),
    share_low(w.ratio, w.low, n_items_wrong), share_high(w.ratio, w.high, n_items_wrong)
FROM found AS a
JOIN found AS r ON r.pair = a.pair AND r.kind = 1
JOIN found AS w ON w.pair = a.pair AND w.kind = 2
JOIN counts ON counts.pair = a.pair
JOIN pairs ON pairs.position = a.pair // 2
WHERE a.kind = 0
ORDER BY a.pair;
