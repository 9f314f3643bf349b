-- The audit log: leaves in the order in which they were said, and the tree over them that `watch` keeps.
--
-- A leaf is written in the database transaction of what it tells, by a function that adds the session's role: who
-- writes can't say that it was another. Transactions commit in another order than their ids, so every writer of
-- leaves holds a shared lock until it ends; `watch` takes the lock alone for an instant, and knows then that no
-- smaller id is still to come.

CREATE TABLE strongroom.audit_leaves (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    leaf text NOT NULL
);

CREATE TABLE strongroom.audit_sequence (
    leaf_index bigint PRIMARY KEY CHECK (leaf_index >= 0),
    leaf_id bigint NOT NULL UNIQUE
);

-- The hash of every complete subtree: `position` subtrees of 2^level leaves stand to its left.
CREATE TABLE strongroom.audit_nodes (
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 62),
    position bigint NOT NULL CHECK (position >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, position)
);

CREATE TABLE strongroom.audit_checkpoints (
    size bigint PRIMARY KEY CHECK (size > 0),
    note text NOT NULL,
    created_at bigint NOT NULL
);

CALL strongroom.make_append_only('audit_leaves');
CALL strongroom.make_append_only('audit_sequence');
CALL strongroom.make_append_only('audit_nodes');
CALL strongroom.make_append_only('audit_checkpoints');

-- One number for all who write or sequence leaves.
CREATE FUNCTION strongroom.audit_lock() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 7163829165';

CREATE FUNCTION strongroom.audit_append(event text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(audit_lock());
    INSERT INTO audit_leaves (leaf)
        VALUES ('{"event":' || event || ',"role":' || to_json(session_user::text) || '}') RETURNING id INTO made;
    RETURN made;
END $$;
