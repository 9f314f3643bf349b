-- Guard's cosignatures of the audit log's checkpoints: a line each, to stand below the note that watch signed.
--
-- Not every checkpoint has one: guard is shown the newest that there is, and one proof for all that lies between.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE strongroom.audit_cosignatures (
    size bigint PRIMARY KEY REFERENCES strongroom.audit_checkpoints,
    line text NOT NULL,
    created_at bigint NOT NULL
);

CALL strongroom.make_append_only('audit_cosignatures');

GRANT SELECT ON strongroom.audit_cosignatures TO strongroom_api, strongroom_watch;
GRANT INSERT ON strongroom.audit_cosignatures TO strongroom_watch;
