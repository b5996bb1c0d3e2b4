-- How far the PGRs of results.duckdb are to be trusted: standard errors and intervals. Reads `judged` (see fill.sql) and
-- `pairs`, fills `pairs.gap_se` and `uncertainty`. What the intervals cover is measured by bench/coverage.py.

-- The 0.975 quantile of Student's t, for any degrees of freedom from 1: its logarithm at 1/df = 0, 0.05, ... 1, between
-- which it is nearly straight (at most 0.1 % off).
CREATE TEMP MACRO log_t(place) AS ([
    0.67293, 0.73523, 0.80117, 0.87079, 0.94413, 1.02117, 1.10186, 1.18613, 1.27387, 1.36495, 1.45923,
    1.55655, 1.65675, 1.75966, 1.86510, 1.97291, 2.08293, 2.19500, 2.30897, 2.42471, 2.54209
])[place + 1];
CREATE TEMP MACRO n_places() AS 20;
CREATE TEMP MACRO t_at(x) AS exp(
    (1 - x + floor(x)) * log_t(floor(x)::INTEGER) + (x - floor(x)) * log_t(least(floor(x) + 1, n_places())::INTEGER)
);
CREATE TEMP MACRO t_quantile(df) AS t_at(n_places() / greatest(df, 1));

-- The square of that of the normal distribution, Student's of infinitely many degrees.
CREATE TEMP MACRO z2() AS t_at(0) ** 2;
CREATE TEMP MACRO t2_of(parts, df) AS z2() + list_sum([
    least(greatest(parts[k] / list_sum(parts), 0), 1) ** 2 * (t_quantile(df[k]) ** 2 - z2()) FOR k IN [1, 2, 3]
]);

-- Parallel sums differ in their last bits from build to build.
CREATE TEMP MACRO rounded(x) AS round(x, 12);

-- Gain and gap of one pair (so of one seed) on each item. Items differ in their numbers of rows, and a mean over rows is
-- a ratio of two sums over items; an item's value is the mean over all rows plus its part in the deviation from it, so
-- that values have that mean, and their variance is that of the ratio (Cochran 1977, Sampling Techniques, section 6.3).
CREATE TEMP TABLE cells AS
WITH
    sums AS (
        SELECT
            position,
            item,
            count(*) AS n_rows,
            sum(transfer_right::INTEGER - weak_right::INTEGER) AS gain,
            sum(ceiling_right::INTEGER - weak_right::INTEGER) AS gap
        FROM judged
        WHERE ceiling_right IS NOT NULL
        GROUP BY position, item
    ),
    means AS (
        SELECT
            position,
            count(*) / sum(n_rows) AS items_per_row,
            sum(gain) / sum(n_rows) AS gain,
            sum(gap) / sum(n_rows) AS gap
        FROM sums
        GROUP BY position
    )
SELECT
    position,
    item,
    means.gain + (sums.gain - means.gain * n_rows) * items_per_row AS gain,
    means.gap + (sums.gap - means.gap * n_rows) * items_per_row AS gap
FROM sums JOIN means USING (position);

-- Of one seed, from items alone. Paired: an item that is hard for both models adds nothing to it.
UPDATE pairs SET gap_se = errors.gap_se
FROM (SELECT position, rounded(stddev_samp(gap) / sqrt(count(*))) AS gap_se FROM cells GROUP BY position) AS errors
WHERE errors.position = pairs.position;

-- Per pair, over its S seeds, which share the n test items: both vary, and both are in the error. The covariance of the
-- means of gain and gap is that of the crossed design, by_items + by_seeds - by_both: C_items / n + C_seeds / S -
-- C_inter / (n S), with C_items of the means over seeds, C_seeds of the means over items, and C_inter of what is left of
-- a cell (Owen 2007, "The pigeonhole bootstrap"; Searle 1971). The interval of the ratio gain / gap is Fieller's (1954,
-- JRSS B 16): all r for which gain - r gap lies within t of its standard errors of 0. Of t² beyond that of the normal
-- distribution, each part's counts by the square of its share in the variance, at the estimate: as Satterthwaite weighs
-- 1 / df. Three seeds often look as if they hardly varied, and 1 / df, in which t² is convex, would then have it far too
-- small. There are no finite ends where the gap is within t of its own errors of 0. With one seed there is nothing to
-- say how seeds vary: the error is that of items alone.
INSERT INTO uncertainty
WITH
    places AS (
        SELECT position, min(position) OVER (PARTITION BY grid, dataset, weak, strong, method) AS pair
        FROM pairs
    ),
    cell_moments AS (
        SELECT
            pair,
            count(DISTINCT item) AS n,
            count(DISTINCT position) AS s,
            var_pop(gain) * count(*) AS gain2,
            var_pop(gap) * count(*) AS gap2,
            covar_pop(gain, gap) * count(*) AS joint
        FROM cells JOIN places USING (position)
        GROUP BY pair
    ),
    item_moments AS (
        SELECT pair, var_samp(gain) AS gain2, var_samp(gap) AS gap2, covar_samp(gain, gap) AS joint
        FROM (
            SELECT pair, avg(gain) AS gain, avg(gap) AS gap
            FROM cells JOIN places USING (position)
            GROUP BY pair, item
        )
        GROUP BY pair
    ),
    seed_moments AS (
        SELECT
            pair,
            avg(gain) AS gain,
            avg(gap) AS gap,
            coalesce(var_samp(gain), 0) AS gain2,
            coalesce(var_samp(gap), 0) AS gap2,
            coalesce(covar_samp(gain, gap), 0) AS joint
        FROM (
            SELECT pair, avg(gain) AS gain, avg(gap) AS gap
            FROM cells JOIN places USING (position)
            GROUP BY pair, position
        )
        GROUP BY pair
    ),
    inter AS (
        SELECT
            pair,
            nullif((n - 1) * (s - 1), 0) AS df,
            greatest(c.gain2 - s * (n - 1) * i.gain2 - n * (s - 1) * m.gain2, 0) / df AS gain2,
            greatest(c.gap2 - s * (n - 1) * i.gap2 - n * (s - 1) * m.gap2, 0) / df AS gap2,
            (c.joint - s * (n - 1) * i.joint - n * (s - 1) * m.joint) / df AS joint
        FROM cell_moments AS c JOIN item_moments AS i USING (pair) JOIN seed_moments AS m USING (pair)
    ),
    parts AS (
        -- Three parts of each variance, with their degrees of freedom.
        SELECT
            pair, n, s, m.gain, m.gap,
            [i.gain2 / n, m.gain2 / s, -coalesce(x.gain2, 0) / (n * s)] AS gain2,
            [i.gap2 / n, m.gap2 / s, -coalesce(x.gap2, 0) / (n * s)] AS gap2,
            [i.joint / n, m.joint / s, -coalesce(x.joint, 0) / (n * s)] AS joint,
            [n - 1, greatest(s - 1, 1), greatest((n - 1) * (s - 1), 1)] AS df,
            CASE WHEN m.gap > 0 THEN m.gain / m.gap END AS ratio
        FROM cell_moments
        JOIN item_moments AS i USING (pair)
        JOIN seed_moments AS m USING (pair)
        JOIN inter AS x USING (pair)
    ),
    quantiles AS (
        SELECT
            *,
            [gain2[k] - 2 * ratio * joint[k] + ratio ** 2 * gap2[k] FOR k IN [1, 2, 3]] AS off,
            coalesce(CASE WHEN list_sum(off) > 0 THEN t2_of(off, df) END, t_quantile(n - 1) ** 2) AS t2,
            coalesce(CASE WHEN list_sum(gap2) > 0 THEN t2_of(gap2, df) END, t_quantile(n - 1) ** 2) AS gap_t2
        FROM parts
    ),
    moments AS (
        SELECT
            *,
            t2 * greatest(list_sum(gain2), 0) AS gain_var,
            t2 * greatest(list_sum(gap2), 0) AS gap_var,
            t2 * list_sum(joint) AS covariance,
            sqrt(greatest(list_sum(gap2), 0)) AS gap_se
        FROM quantiles
    ),
    roots AS (
        SELECT
            *,
            gain * gap - covariance AS middle,
            gap ** 2 - gap_var AS divisor,
            sqrt(greatest(0, middle ** 2 - (gain ** 2 - gain_var) * divisor)) AS reach
        FROM moments
    )
SELECT
    grid, dataset, weak, strong, method, n, s, rounded(roots.gap_se),
    rounded(greatest(least_errors(), sqrt(gap_t2)) * roots.gap_se),
    CASE WHEN divisor > 0 THEN rounded((middle - reach) / divisor) END,
    CASE WHEN divisor > 0 THEN rounded((middle + reach) / divisor) END
FROM roots JOIN pairs ON pairs.position = roots.pair
ORDER BY pair;
