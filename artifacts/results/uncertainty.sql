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

-- Of one seed, from items alone. Paired: an item that is hard for both models adds nothing to it.
UPDATE pairs SET gap_se = found.whole_se, pgr_low = found.low, pgr_high = found.high
FROM (
    WITH sums AS (
        SELECT position AS pair, 0 AS seed, item, n_compared AS n_rows, gain AS part, gap AS whole
        FROM item_sums
        WHERE n_compared > 0
    )
    FROM crossed('sums')
) AS found
WHERE found.pair = pairs.position;

INSERT INTO uncertainty
WITH
    sums AS (
        SELECT place AS pair, position AS seed, item, n_compared AS n_rows, gain AS part, gap AS whole
        FROM item_sums
        WHERE n_compared > 0
    )
SELECT grid, dataset, weak, strong, method, n_items, n_seeds, whole_se, least_whole, low, high
FROM crossed('sums') JOIN pairs ON pairs.position = pair
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
    overall AS (SELECT pair, seed, item, n_given AS n_rows, n_agree AS part, n_given AS whole FROM levels),
    where_right AS (SELECT pair, seed, item, n_given AS n_rows, n_agree_right AS part, n_right AS whole FROM levels),
    where_wrong AS (
        SELECT
            pair, seed, item,
            n_given AS n_rows, n_agree - n_agree_right AS part, n_given - n_right AS whole
        FROM levels
    ),
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
FROM crossed('overall') AS a
JOIN crossed('where_right') AS r USING (pair)
JOIN crossed('where_wrong') AS w USING (pair)
JOIN counts USING (pair)
JOIN pairs ON pairs.position = a.pair // 2
ORDER BY a.pair;
