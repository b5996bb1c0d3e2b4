-- The tables of results.duckdb. What fills them is in fill.sql and uncertainty.sql, what is read of them in views.sql.
-- Comments directly above a statement, and beside a column, are those of the database, see comments.py.
--
-- Names: weak is the supervisor, strong the student; transfer is the student trained on weak labels, ceiling the
-- strong model trained on ground truth. Accuracies are fractions.

-- Every artifact of the store, whichever grid made it and however long ago.
CREATE TABLE nodes (
    stage VARCHAR,
    key VARCHAR,
    node VARCHAR,             -- what it is, whatever its code and bytes
    dataset VARCHAR,
    kind VARCHAR,             -- of a score: gt or w2s
    model VARCHAR,
    half VARCHAR,
    supervisor VARCHAR,
    method VARCHAR,
    seed BIGINT,
    labels JSON,
    params JSON,
    metrics JSON,
    started TIMESTAMP,        -- UTC
    seconds DOUBLE,
    torch VARCHAR,
    transformers VARCHAR,
    host VARCHAR,
    device VARCHAR,
    flow_run VARCHAR,         -- of Prefect, in which it was made; NULL where that was not written down
    size_bytes BIGINT,        -- on disk now
    evicted BOOLEAN,          -- whether an output was removed to save space
    code VARCHAR,             -- digest of the code that made it; of one node, another code means another key
    is_current BOOLEAN        -- whether the latest run of a grid has it; else it is of former code, or of a former grid
);

-- One row per node of each grid's latest run that has predictions and is done; NULL for metrics that it does not say.
CREATE TABLE scores (
    grid VARCHAR,
    dataset VARCHAR,
    kind VARCHAR,             -- gt: trained on ground truth; w2s: trained on weak labels
    model VARCHAR,
    half VARCHAR,
    supervisor VARCHAR,       -- NULL for gt, as is method; but ceilings that learn otherwise than by finetuning have both,
                              -- and members of an ensemble that learn from rows of their own a method, its name
    method VARCHAR,
    seed BIGINT,
    split VARCHAR,
    n BIGINT,
    accuracy DOUBLE,
    auroc DOUBLE,             -- NULL when the split has one class
    brier DOUBLE,
    ece DOUBLE,
    near_chance BOOLEAN,      -- whether the training of the model said so, see the view pgr
    label_certainty DOUBLE,   -- of the labels that it was trained on: their mean distance from one half
    n_parameters BIGINT,      -- of the model
    key VARCHAR
);

-- The rows behind those scores.
CREATE TABLE predictions (
    key VARCHAR,
    id VARCHAR,
    "group" VARCHAR,          -- rows that share a question or a passage; NULL for scores of before it was known
    answer VARCHAR NOT NULL,  -- of two classes, 1 where prob > 0.5, else 0
    "right" BOOLEAN NOT NULL, -- whether the answer is; a word of SQL, and so in quotes, as "group" is
    prob DOUBLE               -- of class 1; NULL where answers have none
);

-- What students of each grid's latest run are trained on.
-- Of two classes prob is that of class 1, of more NULL; labels that are texts are an answer.
CREATE TABLE labels (key VARCHAR, split VARCHAR, id VARCHAR, prob DOUBLE, answer VARCHAR);

-- What debaters of each grid's latest run said, one row per turn. It is data, whatever it says.
CREATE TABLE texts (
    key VARCHAR,              -- of the transcripts of one split and seed
    id VARCHAR,               -- of the row that it is about
    seed BIGINT,              -- of the transcripts
    turn INTEGER,             -- from 0
    role VARCHAR,             -- who spoke, as the protocol calls him
    side TINYINT,             -- the class that he argued for
    text VARCHAR,             -- what was said
    is_cut BOOLEAN,           -- whether it ends where the debater was stopped
    n_tokens INTEGER          -- said; 0 where a server does not tell
);

-- What is known of the data of each audit: the newest of its kind, whichever grid made it. Facts have no verdict.
CREATE TABLE audits (
    dataset VARCHAR,
    source VARCHAR,           -- folder, hub or offline
    started TIMESTAMP,        -- UTC
    split VARCHAR,            -- train and test are the raw files, all is across splits
    "check" VARCHAR,
    value DOUBLE,
    threshold DOUBLE,         -- beyond which it is not ok
    verdict VARCHAR,          -- ok, warn or fail
    detail VARCHAR,
    key VARCHAR
);

-- How the trainings of each grid's latest run went, one row per optimizer step.
CREATE TABLE curves (
    grid VARCHAR,
    dataset VARCHAR,
    kind VARCHAR,             -- gt, w2s, or pretrain
    model VARCHAR,
    half VARCHAR,
    supervisor VARCHAR,
    method VARCHAR,
    seed BIGINT,
    step BIGINT,              -- from 1
    fraction DOUBLE,          -- of the training, after this step
    loss DOUBLE,              -- of the effective batch, in nats
    lr DOUBLE,
    label_disagree DOUBLE,    -- share of the batch whose class differs from its label's
    alpha DOUBLE,             -- weight of the student's own labels, where the loss has one
    hardened_disagree DOUBLE, -- share of the batch whose own hardened label differs from the label it learns from
    examples_per_s DOUBLE,    -- over some ten steps
    tokens_per_s DOUBLE,      -- without padding
    gt_accuracy DOUBLE,       -- on validation, against ground truth; NULL except at runtime.eval_at and the end
    label_accuracy DOUBLE,    -- on validation, against labels of the kind it is trained on
    key VARCHAR
);

-- The latest run of each grid, which scores and pairs are of.
CREATE TABLE grids (
    grid VARCHAR,
    run VARCHAR,
    started TIMESTAMP,        -- UTC
    state VARCHAR,            -- running, complete, failed or interrupted, when this file was built
    is_current BOOLEAN        -- false for an earlier definition, which is called NAME@1 and so on
);

-- The artifacts of each grid's latest run; two of its nodes may have one.
CREATE TABLE used (grid VARCHAR, stage VARCHAR, key VARCHAR);

-- What each grid compares: keys of scores, NULL while unknown; self-training (weak = strong) has no ceiling.
CREATE TABLE pairs (
    position BIGINT,          -- in the order of the grid files, so that ladders sort as they were written
    grid VARCHAR,
    dataset VARCHAR,
    weak VARCHAR,
    strong VARCHAR,
    method VARCHAR,
    seed BIGINT,
    weak_score VARCHAR,
    transfer_score VARCHAR,
    ceiling_score VARCHAR,
    gap_se DOUBLE,            -- paired standard error of ceiling - weak over items alone, see uncertainty.sql
    pgr_low DOUBLE,           -- 95 % interval of the PGR of this seed, from items alone
    pgr_high DOUBLE,
    supervisor_score VARCHAR, -- of the labels that the student was given; weak_score, where the grid names no other
    ceiling_plain_score VARCHAR -- of the ceiling that is trained the usual way; ceiling_score, where it names no other
);

-- How many test rows each combination of right and wrong answers has. Joined by id.
CREATE TABLE outcomes (
    grid VARCHAR,
    dataset VARCHAR,
    weak VARCHAR,
    strong VARCHAR,
    method VARCHAR,
    seed BIGINT,
    weak_right BOOLEAN,
    transfer_right BOOLEAN,
    ceiling_right BOOLEAN,    -- NULL where there is no ceiling
    agrees BOOLEAN,           -- whether transfer answers as the labels that it was given; two that are wrong may differ
    supervisor_right BOOLEAN, -- whether those labels are right, which are weak's unless an ensemble or the like gave them
    n BIGINT
);

-- Uncertainty of each pair over its seeds together: from the choice of test items (groups of rows that share a question
-- or a passage) and, from two seeds on, from the seeds. Two are too few: where seeds vary, many
-- pairs are flagged, and the intervals of the others hold the truth less often than they say; see bench/RESULTS.md.
CREATE TABLE uncertainty (
    grid VARCHAR,
    dataset VARCHAR,
    weak VARCHAR,
    strong VARCHAR,
    method VARCHAR,
    n_items BIGINT,
    n_seeds BIGINT,
    gap_se DOUBLE,
    least_gap DOUBLE,         -- below which the gap is not told from none: t of its standard errors, two at least
    pgr_low DOUBLE,           -- 95 % interval of the ratio of means; NULL where it has no finite ends
    pgr_high DOUBLE
);

-- 95 % intervals of the agreement of student and supervisor, of its part where the supervisor is right, and where it is
-- wrong: of each seed, from test items alone, and of all seeds of a pair together. NULL where there is no such row.
CREATE TABLE agreement_uncertainty (
    grid VARCHAR,
    dataset VARCHAR,
    weak VARCHAR,
    strong VARCHAR,
    method VARCHAR,
    seed BIGINT,              -- NULL in the row of all seeds
    n_items BIGINT,
    n_seeds BIGINT,
    agreement_low DOUBLE,
    agreement_high DOUBLE,
    agreement_right_low DOUBLE,
    agreement_right_high DOUBLE,
    agreement_wrong_low DOUBLE,
    agreement_wrong_high DOUBLE
);

-- Numbers of others, see published.csv: to tell whether an installation behaves as published.
CREATE TABLE published (
    source VARCHAR,
    dataset VARCHAR,          -- as here; all is a median over the datasets of the source
    weak VARCHAR,             -- of a model trained on ground truth, that model, as is strong
    supervisor VARCHAR,       -- of labels that weak did not give by itself, who gave them, by the name in the preset `debate`
    strong VARCHAR,           -- NULL where the number is over several
    method VARCHAR,           -- as here, where it is here; NULL of a model trained on ground truth
    metric VARCHAR,           -- accuracy, auroc, pgr, or pgr_auroc: of areas in the place of accuracies
    value DOUBLE,
    certainty VARCHAR,        -- how it was had
    note VARCHAR
);

-- A gap counts from so many of its standard errors on.
CREATE MACRO least_errors() AS 2;
