-- The rules of every interval, as macros: of a ratio or a difference on one test set (`crossed`), and of a mean or a
-- median over datasets (`over_datasets`). All are of 95 %. What they cover is measured by bench/coverage.py.

-- The 0.975 quantile of Student's t, for any degrees of freedom from 1: its logarithm at 1/df = 0, 0.05, ... 1, between
-- which it is nearly straight (at most 0.1 % off).
CREATE MACRO log_t(place) AS ([
    0.67293, 0.73523, 0.80117, 0.87079, 0.94413, 1.02117, 1.10186, 1.18613, 1.27387, 1.36495, 1.45923,
    1.55655, 1.65675, 1.75966, 1.86510, 1.97291, 2.08293, 2.19500, 2.30897, 2.42471, 2.54209
])[place + 1];
CREATE MACRO n_places() AS 20;
CREATE MACRO t_at(x) AS exp(
    (1 - x + floor(x)) * log_t(floor(x)::INTEGER) + (x - floor(x)) * log_t(least(floor(x) + 1, n_places())::INTEGER)
);
CREATE MACRO t_quantile(df) AS t_at(n_places() / greatest(df, 1));

-- The square of that of the normal distribution, Student's of infinitely many degrees.
CREATE MACRO z2() AS t_at(0) ** 2;
CREATE MACRO t2_of(parts, variance, df) AS z2() + list_sum([
    least(greatest(parts[k] / variance, 0), 1) ** 2 * (t_quantile(df[k]) ** 2 - z2()) FOR k IN [1, 2, 3]
]);

-- Of three parts of a variance, their sum, but no less than what the third takes off: see `crossed`.
CREATE MACRO sum_of(parts) AS greatest(list_sum(parts), -parts[3]);

-- Parallel sums differ in their last bits from build to build.
CREATE MACRO rounded(x) AS round(x, 12);

-- The ratio of two means, part / whole, over S seeds that share n test items: gain / gap is a PGR; where whole is the
-- number of rows, it is the mean of part, such as a difference of accuracies. `sums` is the name of a table or of a WITH
-- that has a row per pair, seed and item: n_rows, and the sums of part and whole over these rows.
--
-- Items differ in their numbers of rows, and a mean over rows is a ratio of two sums over items; an item's value is the
-- mean over all rows plus its part in the deviation from it, so that values have that mean, and their variance is that of
-- the ratio (Cochran 1977, Sampling Techniques, section 6.3).
--
-- Items and seeds both vary, and both are in the error. The covariance of the means of part and whole is that of the
-- crossed design, by_items + by_seeds - by_both: C_items / n + C_seeds / S - C_inter / (n S), with C_items of the means
-- over seeds, C_seeds of the means over items, and C_inter of what is left of a cell (Owen 2007, "The pigeonhole
-- bootstrap"; Searle 1971). The interval of the ratio is Fieller's (1954, JRSS B 16): all r for which part - r whole lies
-- within t of its standard errors of 0. Of t² beyond that of the normal distribution, each part's counts by the square of
-- its share in the variance, at the estimate: as Satterthwaite weighs 1 / df. Three seeds often look as if they hardly
-- varied, and 1 / df, in which t² is convex, would then have it far too small. There are no finite ends where the whole
-- is within t of its own errors of 0. By chance the three parts may sum to nearly nothing, or less; what is left of a
-- cell varies in any case, so the error is never below by_both. With one seed there is nothing to say how seeds vary: the
-- error is that of items alone.
--
-- low and high are the interval, whole_se the standard error of the whole, least_whole what it has to exceed, and parts
-- the three parts of the variance of the ratio.
CREATE MACRO crossed(sums) AS TABLE
WITH
    means AS (
        SELECT
            pair, seed,
            sum(n_rows) AS n_rows,
            count(*) / sum(n_rows) AS items_per_row,
            sum(part) / sum(n_rows) AS part,
            sum(whole) / sum(n_rows) AS whole
        FROM query_table(sums)
        GROUP BY pair, seed
    ),
    cells AS NOT MATERIALIZED (
        SELECT
            pair, seed, item,
            means.part + (given.part - means.part * given.n_rows) * items_per_row AS part,
            means.whole + (given.whole - means.whole * given.n_rows) * items_per_row AS whole
        FROM query_table(sums) AS given JOIN means USING (pair, seed)
    ),
    seed_moments AS (
        SELECT
            pair,
            count(*) AS s,
            avg(n_rows) AS n_rows,
            avg(part) AS part,
            avg(whole) AS whole,
            coalesce(var_samp(part), 0) AS part2,
            coalesce(var_samp(whole), 0) AS whole2,
            coalesce(covar_samp(part, whole), 0) AS joint
        FROM means
        GROUP BY pair
    ),
    cell_moments AS (
        SELECT
            pair,
            var_pop(part) * count(*) AS part2,
            var_pop(whole) * count(*) AS whole2,
            covar_pop(part, whole) * count(*) AS joint
        FROM cells
        GROUP BY pair
    ),
    item_moments AS (
        SELECT
            pair, count(*) AS n,
            var_samp(part) AS part2, var_samp(whole) AS whole2, covar_samp(part, whole) AS joint
        FROM (SELECT pair, avg(part) AS part, avg(whole) AS whole FROM cells GROUP BY pair, item)
        GROUP BY pair
    ),
    inter AS (
        SELECT
            pair,
            nullif((n - 1) * (s - 1), 0) AS df,
            greatest(c.part2 - s * (n - 1) * i.part2 - n * (s - 1) * m.part2, 0) / df AS part2,
            greatest(c.whole2 - s * (n - 1) * i.whole2 - n * (s - 1) * m.whole2, 0) / df AS whole2,
            (c.joint - s * (n - 1) * i.joint - n * (s - 1) * m.joint) / df AS joint
        FROM cell_moments AS c JOIN item_moments AS i USING (pair) JOIN seed_moments AS m USING (pair)
    ),
    by_part AS (
        -- Three parts of each variance, with their degrees of freedom.
        SELECT
            pair, n, s, n_rows, m.part, m.whole,
            [i.part2 / n, m.part2 / s, -coalesce(x.part2, 0) / (n * s)] AS part2,
            [i.whole2 / n, m.whole2 / s, -coalesce(x.whole2, 0) / (n * s)] AS whole2,
            [i.joint / n, m.joint / s, -coalesce(x.joint, 0) / (n * s)] AS joint,
            [n - 1, greatest(s - 1, 1), greatest((n - 1) * (s - 1), 1)] AS df,
            CASE WHEN m.whole > 0 THEN m.part / m.whole END AS ratio
        FROM item_moments AS i
        JOIN seed_moments AS m USING (pair)
        JOIN inter AS x USING (pair)
    ),
    quantiles AS (
        SELECT
            *,
            [part2[k] - 2 * ratio * joint[k] + ratio ** 2 * whole2[k] FOR k IN [1, 2, 3]] AS off,
            coalesce(list_sum(off) < sum_of(off), false) AS is_least,
            coalesce(CASE WHEN sum_of(off) > 0 THEN t2_of(off, sum_of(off), df) END, t_quantile(n - 1) ** 2) AS t2,
            coalesce(CASE WHEN sum_of(whole2) > 0 THEN t2_of(whole2, sum_of(whole2), df) END, t_quantile(n - 1) ** 2)
                AS whole_t2
        FROM by_part
    ),
    roots AS (
        SELECT
            *,
            sqrt(greatest(sum_of(whole2), 0)) AS whole_se,
            CASE WHEN is_least THEN -part2[3] ELSE greatest(list_sum(part2), 0) END AS part_var,
            CASE WHEN is_least THEN -whole2[3] ELSE greatest(list_sum(whole2), 0) END AS whole_var,
            CASE WHEN is_least THEN -joint[3] ELSE list_sum(joint) END AS covariance,
            part * whole - t2 * covariance AS middle,
            whole ** 2 - t2 * whole_var AS divisor,
            sqrt(greatest(0, middle ** 2 - (part ** 2 - t2 * part_var) * divisor)) AS reach
        FROM quantiles
    )
SELECT
    pair, n AS n_items, s AS n_seeds, n_rows, rounded(ratio) AS ratio, rounded(whole) AS whole,
    rounded(whole_se) AS whole_se,
    rounded(greatest(least_errors(), sqrt(whole_t2)) * whole_se) AS least_whole,
    CASE WHEN divisor > 0 THEN rounded((middle - reach) / divisor) END AS low,
    CASE WHEN divisor > 0 THEN rounded((middle + reach) / divisor) END AS high,
    [part / whole ** 2 FOR part IN off] AS parts
FROM roots;

-- From so many datasets on, an interval is of all datasets that are like them. Of fewer, even the range from the lowest
-- to the highest holds the median less often than 95 %: 1 - 2 / 2^5.
CREATE MACRO least_datasets() AS 6;
CREATE MACRO n_resamples() AS 1000;

-- The probability that a normal variable exceeds x, from 0 (Abramowitz and Stegun 1964, 7.1.26).
CREATE MACRO tail_at(x, u) AS u * (0.254829592 + u * (-0.284496736 + u * (1.421413741
    + u * (-1.453152027 + u * 1.061405429)))) * exp(-(x ** 2) / 2) / 2;
CREATE MACRO normal_tail(x) AS tail_at(x, 1 / (1 + 0.3275911 * x / sqrt(2)));

-- The share of resamples beyond each end: less than 0.025, because resampled values of few datasets spread less than
-- datasets do (the expanded percentiles of Hesterberg 2015, The American Statistician 69, section 4.3).
CREATE MACRO share_beyond(n) AS normal_tail(sqrt(n / (n - 1)) * t_quantile(n - 1));

-- Mean and median of values over datasets, a value being of one pair of models; those of one dataset stand and fall
-- together. The interval of the median is of the bootstrap over datasets (Efron 1979), by percentiles, with draws that are
-- always the same; that of the mean is Student's, of a ratio of sums over datasets, as for items above. Both are NULL for
-- fewer than least_datasets(). `given` names what has grid, method, dataset and value.
CREATE MACRO over_datasets(given) AS TABLE
WITH
    placed AS (
        SELECT grid, method, value, dense_rank() OVER (PARTITION BY grid, method ORDER BY dataset) - 1 AS place
        FROM query_table(given)
        WHERE value IS NOT NULL
    ),
    overall AS (
        SELECT
            grid, method, max(place) + 1 AS n_datasets, count(*) AS n_values, avg(value) AS mean, median(value) AS median
        FROM placed
        GROUP BY grid, method
    ),
    deviations AS (
        SELECT grid, method, sum(value - mean) AS deviation
        FROM placed JOIN overall USING (grid, method)
        GROUP BY grid, method, place
    ),
    errors AS (
        SELECT grid, method, sqrt(count(*) / (count(*) - 1) * sum(deviation ** 2)) AS deviation
        FROM deviations
        GROUP BY grid, method
        HAVING count(*) >= least_datasets()
    ),
    draws AS (
        SELECT n_datasets, resample, (md5_number_lower(resample || ' ' || draw) % n_datasets::UBIGINT)::BIGINT AS place
        FROM
            (SELECT DISTINCT n_datasets FROM overall WHERE n_datasets >= least_datasets()),
            range(n_resamples()) AS resamples(resample),
            range(n_datasets) AS drawn(draw)
    ),
    medians AS (
        SELECT grid, method, median(value) AS median
        FROM overall JOIN draws USING (n_datasets) JOIN placed USING (grid, method, place)
        GROUP BY grid, method, resample
    ),
    ends AS (
        SELECT
            grid, method,
            list_sort(list(median)) AS sorted,
            round(share_beyond(any_value(n_datasets)) * (n_resamples() - 1))::INTEGER AS n_beyond,
            sorted[1 + n_beyond] AS low,
            sorted[n_resamples() - n_beyond] AS high
        FROM medians JOIN (SELECT grid, method, n_datasets FROM overall) USING (grid, method)
        GROUP BY grid, method
    )
SELECT
    grid, method, n_datasets, rounded(mean) AS mean,
    rounded(mean - t_quantile(n_datasets - 1) * deviation / n_values) AS mean_low,
    rounded(mean + t_quantile(n_datasets - 1) * deviation / n_values) AS mean_high,
    rounded(median) AS median, rounded(low) AS median_low, rounded(high) AS median_high
FROM overall LEFT JOIN errors USING (grid, method) LEFT JOIN ends USING (grid, method);
