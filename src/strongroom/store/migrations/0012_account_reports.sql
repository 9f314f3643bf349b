-- What watch saw on chains of accounts: whether a chain transaction there failed, or lost its nonce to another, and what
-- it really cost; and what a vault did with each item of a batch, whichever chain transaction brought it.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- `reverted`: mined, and it did nothing but cost. `replaced`: its nonce is used by another, which `conflicts_with` names
-- as the attempt that it is, or by its hash (0x…) if it is none of ours. `fee` in base units, of what is mined.
-- `is_final`: the rail calls it final, and it is as deep as the policy asks. Both are null on chains of coins.
ALTER TABLE strongroom.chain_reports DROP CONSTRAINT chain_reports_status_check;
ALTER TABLE strongroom.chain_reports ADD CONSTRAINT chain_reports_status_check
    CHECK (status IN ('unseen', 'pending', 'confirmed', 'conflicted', 'reverted', 'replaced')) NOT VALID;
ALTER TABLE strongroom.chain_reports ADD COLUMN fee numeric(78, 0) CHECK (fee >= 0), ADD COLUMN is_final boolean;

-- A row each time that the fate of an item changed; the newest is what is so. `batch` is its name, `item` its index.
-- `paid`: the payee got `received`. `skipped`: executed without it, and a retry can pay it. `taken_over`: skipped, and an
-- item of the batch `taken_by` since. `dead`: the batch was killed. `differs`: vault and token don't say the same, and
-- `detail` says what. `unseen`: nothing of the batch is in a block, or not any more. `is_final` as above.
CREATE TABLE strongroom.batch_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    network text NOT NULL,
    batch text NOT NULL CHECK (batch ~ '^[0-9a-f]{64}$'),
    item integer NOT NULL CHECK (item BETWEEN 0 AND 247),
    fate text NOT NULL CHECK (fate IN ('unseen', 'paid', 'skipped', 'taken_over', 'dead', 'differs')),
    received numeric(78, 0) CHECK (received >= 0),
    taken_by text CHECK (taken_by ~ '^[0-9a-f]{64}$'),
    height bigint,
    block_hash text,
    is_final boolean NOT NULL,
    detail text,
    created_at bigint NOT NULL,
    CHECK ((fate = 'paid') = (received IS NOT NULL) AND (fate = 'taken_over') = (taken_by IS NOT NULL)),
    CHECK ((fate = 'unseen') = (height IS NULL) AND (height IS NULL) = (block_hash IS NULL)),
    CHECK (fate <> 'unseen' OR NOT is_final)
);
CREATE INDEX batch_reports_newest ON strongroom.batch_reports (network, batch, item, id);

CALL strongroom.make_append_only('batch_reports');

-- What is so of each item of which anything was seen. To be asked by network and batch.
CREATE VIEW strongroom.batch_fates AS
SELECT DISTINCT ON (network, batch, item)
    network, batch, item, fate, received, taken_by, height, block_hash, is_final, detail, created_at
FROM strongroom.batch_reports ORDER BY network, batch, item, id DESC;

GRANT SELECT ON strongroom.batch_reports, strongroom.batch_fates
    TO strongroom_api, strongroom_engine, strongroom_watch;
GRANT INSERT ON strongroom.batch_reports TO strongroom_watch;
