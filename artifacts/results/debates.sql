-- Views on debates: how judges fare by who argued for the truth, what debates took, and what they gave. What is read is in
-- schema.sql, what was made from what in landing.sql. Agreement between members of an ensemble is in the view ensembles.

-- How often each judge of the latest runs is right on test, by whether each role of the protocol argued for the truth or
-- against it in the row's own transcript, and `last`, whoever spoke last. NULL where there is no such row. What `method` says is of
-- members of an ensemble, which have transcripts of their own, and of judges before any training.
CREATE VIEW judges_by_side AS
WITH
    judged AS (SELECT * FROM nodes WHERE stage = 'judge' AND is_current AND metrics ->> '$.n_heard' IS NOT NULL),
    heard AS (
        SELECT DISTINCT key, regexp_extract(unnest(json_keys(metrics)), '^n_(\w+)_(true|false)$', 1) AS whose
        FROM judged
    )
SELECT
    dataset, supervisor, method, seed, whose, key,
    (metrics ->> ('$.accuracy_' || whose || '_true'))::DOUBLE AS accuracy_true,
    (metrics ->> ('$.accuracy_' || whose || '_false'))::DOUBLE AS accuracy_false,
    coalesce((metrics ->> ('$.n_' || whose || '_true'))::BIGINT, 0) AS n_true,
    coalesce((metrics ->> ('$.n_' || whose || '_false'))::BIGINT, 0) AS n_false
FROM judged JOIN heard USING (key)
WHERE whose <> '';

-- The same judges by length and truncation of what they heard: accuracy at all, in the half of the rows with the shorter and
-- with the longer transcripts, and where a turn was cut.
CREATE VIEW judges_by_length AS
SELECT
    dataset, supervisor, method, seed, key,
    (metrics ->> '$.n_heard')::BIGINT AS n,
    (metrics ->> '$.accuracy')::DOUBLE AS accuracy,
    (metrics ->> '$.mean_chars_heard')::DOUBLE AS mean_chars,
    (metrics ->> '$.accuracy_shorter')::DOUBLE AS accuracy_shorter,
    (metrics ->> '$.accuracy_longer')::DOUBLE AS accuracy_longer,
    coalesce((metrics ->> '$.n_cut')::BIGINT, 0) AS n_cut,
    (metrics ->> '$.accuracy_cut')::DOUBLE AS accuracy_cut
FROM nodes
WHERE stage = 'judge' AND is_current AND metrics ->> '$.n_heard' IS NOT NULL;

-- The transcripts from which the labels of each supervisor were made, by the key of their score.
CREATE VIEW heard AS
WITH RECURSIVE behind AS (
    SELECT DISTINCT supervisor_score AS score, supervisor_score AS key FROM pairs WHERE supervisor_score IS NOT NULL
    UNION
    SELECT behind.score, inputs.source FROM behind JOIN landing.inputs AS inputs USING (key)
)
SELECT score, key FROM behind SEMI JOIN (SELECT key FROM nodes WHERE stage = 'transcripts') USING (key);

-- All transcripts behind the labels of each supervisor, on all splits together; a debate is one row under one seed.
-- seconds are of the nodes, whoever asked for them first; n_tokens are those said, n_read those of prompts.
CREATE VIEW debates AS
WITH spoken AS (
    SELECT
        score, count(*) AS n_transcripts,
        sum((metrics ->> '$.n')::BIGINT)::BIGINT AS n_debates,
        sum((metrics ->> '$.n')::BIGINT * (metrics ->> '$.n_turns')::BIGINT)::BIGINT AS n_turns,
        sum((metrics ->> '$.n_tokens')::BIGINT)::BIGINT AS n_tokens,
        sum((metrics ->> '$.n_read')::BIGINT)::BIGINT AS n_read,
        sum((metrics ->> '$.n_cut')::BIGINT)::BIGINT AS n_cut,
        sum((metrics ->> '$.n_empty')::BIGINT)::BIGINT AS n_empty,
        sum(seconds) AS seconds
    FROM heard JOIN nodes USING (key)
    GROUP BY score
)
SELECT
    grid, dataset, supervisor, seed, n_transcripts, n_debates, n_turns, n_tokens, n_read, seconds,
    n_tokens / n_debates AS tokens_per_debate,
    n_read / n_debates AS read_per_debate,
    seconds / n_debates AS seconds_per_debate,
    n_cut / n_turns AS share_cut,
    n_empty / n_turns AS share_empty
FROM (SELECT DISTINCT grid, dataset, weak AS supervisor, seed, supervisor_score AS score FROM pairs)
JOIN spoken USING (score);

-- What a debate gives, over the seeds of each pair, in PGR against the plain judge as reference: of the gap, better labels
-- recover pgr_of_labels by themselves, and generalization beyond them the rest, pgr_of_generalization; pgr_plain is what
-- students of the plain judge recover by the same method, and gain what the debate gives beyond it. Tokens (said) and
-- seconds are of all transcripts of one seed on average; per point of PGR they are NULL where nothing was gained.
CREATE VIEW debate_gains AS
WITH
    plain AS (
        SELECT grid, dataset, strong, method, seed, weak_score, any_value(pgr.transfer_acc) AS plain_acc
        FROM pairs JOIN pgr USING (grid, dataset, weak, strong, method, seed)
        WHERE supervisor_score = weak_score
        GROUP BY ALL
    ),
    means AS (
        SELECT
            grid, dataset, pgr.weak, strong, method,
            avg(weak_acc) AS weak_acc, avg(gap) AS gap, avg(transfer_acc) AS transfer_acc,
            CASE WHEN count(supervisor_acc) = count(*) THEN avg(supervisor_acc) END AS supervisor_acc,
            CASE WHEN count(plain_acc) = count(*) THEN avg(plain_acc) END AS plain_acc,
            avg(debates.n_tokens) AS n_tokens, avg(debates.seconds) AS seconds, count(*) AS n_seeds
        FROM pgr
        JOIN pairs USING (grid, dataset, weak, strong, method, seed)
        JOIN debates ON (debates.grid, debates.dataset, debates.supervisor, debates.seed)
            = (pgr.grid, pgr.dataset, pgr.weak, pgr.seed)
        LEFT JOIN plain USING (grid, dataset, strong, method, seed, weak_score)
        GROUP BY ALL
    )
SELECT
    grid, dataset, weak AS supervisor, strong, method, n_seeds,
    (transfer_acc - weak_acc) / whole AS pgr,
    (supervisor_acc - weak_acc) / whole AS pgr_of_labels,
    (transfer_acc - supervisor_acc) / whole AS pgr_of_generalization,
    (plain_acc - weak_acc) / whole AS pgr_plain,
    (transfer_acc - plain_acc) / whole AS gain,
    n_tokens, seconds,
    CASE WHEN gain > 0 THEN n_tokens / (100 * gain) END AS tokens_per_point,
    CASE WHEN gain > 0 THEN seconds / (100 * gain) END AS seconds_per_point
FROM (SELECT *, CASE WHEN gap > 0 THEN gap END AS whole FROM means);
