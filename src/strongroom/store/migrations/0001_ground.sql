-- The record of what was asked for: organisations and their keys, beneficiaries, payouts, runs, the evidence of
-- every request, and the outbox. Times are milliseconds UTC; money is whole base units. Ids are checked for form
-- where they are derived, so that a wrong one can't hide.

CREATE SCHEMA IF NOT EXISTS strongroom;

-- What refuses to be changed, by whoever: grants alone would let the owner.
CREATE FUNCTION strongroom.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE PROCEDURE strongroom.make_append_only(name text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON strongroom.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change()', name);
END $$;

CREATE TABLE strongroom.deployment (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    deployment text NOT NULL CHECK (deployment ~ '^[0-9a-f]{16}$'),
    genesis bytea NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE strongroom.organisations (
    id text PRIMARY KEY CHECK (id ~ '^org_[a-z2-7]{26}$'),
    name text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE strongroom.policies (
    organisation text NOT NULL REFERENCES strongroom.organisations,
    version integer NOT NULL CHECK (version > 0),
    document bytea NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (organisation, version)
);

CREATE TABLE strongroom.rosters (
    organisation text NOT NULL REFERENCES strongroom.organisations,
    version integer NOT NULL CHECK (version > 0),
    document bytea NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (organisation, version)
);

CREATE TABLE strongroom.clients (
    id text PRIMARY KEY CHECK (id ~ '^cl_[a-z2-7]{26}$'),
    organisation text NOT NULL REFERENCES strongroom.organisations,
    name text NOT NULL,
    created_at bigint NOT NULL
);

-- A public key is enrolled once, for ever: a key that served two clients could be played off against either.
CREATE TABLE strongroom.client_keys (
    key_id text PRIMARY KEY CHECK (key_id ~ '^ak_[a-z2-7]{26}$'),
    client text NOT NULL REFERENCES strongroom.clients,
    public_key bytea NOT NULL UNIQUE CHECK (octet_length(public_key) = 32),
    scopes text[] NOT NULL,
    allowed_addresses text[] NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE strongroom.bearer_keys (
    key_id text PRIMARY KEY CHECK (key_id ~ '^ak_[a-z2-7]{26}$'),
    client text NOT NULL REFERENCES strongroom.clients,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    scopes text[] NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE strongroom.key_revocations (
    key_id text PRIMARY KEY,
    created_at bigint NOT NULL
);

CREATE TABLE strongroom.freezes (
    organisation text NOT NULL REFERENCES strongroom.organisations,
    epoch integer NOT NULL CHECK (epoch > 0),
    frozen boolean NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (organisation, epoch)
);

-- Every signed request as it came, byte for byte: what a dispute is settled by, and what the signer will read.
CREATE TABLE strongroom.evidence (
    id bigint PRIMARY KEY,
    organisation text NOT NULL,
    client text NOT NULL,
    key_id text NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    authority text NOT NULL,
    idempotency_key text NOT NULL,
    signature_base bytea NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    body bytea NOT NULL,
    received_at bigint NOT NULL
);
ALTER TABLE strongroom.evidence ALTER COLUMN body SET STORAGE EXTERNAL;

-- Requests that make no payout, beneficiary or run of their own: their keys, and what was answered.
CREATE TABLE strongroom.other_requests (
    client text NOT NULL,
    idempotency_key text NOT NULL,
    evidence bigint NOT NULL,
    result text NOT NULL,
    PRIMARY KEY (client, idempotency_key)
);

CREATE TABLE strongroom.beneficiaries (
    id text PRIMARY KEY CHECK (id ~ '^ben_[a-z2-7]{26}$'),
    organisation text NOT NULL REFERENCES strongroom.organisations,
    client text NOT NULL REFERENCES strongroom.clients,
    idempotency_key text NOT NULL,
    external_id text,
    name text NOT NULL,
    evidence bigint NOT NULL,
    leaf bigint NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX beneficiaries_listed ON strongroom.beneficiaries (organisation, leaf);
CREATE INDEX beneficiaries_external ON strongroom.beneficiaries (organisation, external_id);

CREATE TABLE strongroom.destinations (
    digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    organisation text NOT NULL REFERENCES strongroom.organisations,
    beneficiary text NOT NULL REFERENCES strongroom.beneficiaries,
    declared_by text NOT NULL REFERENCES strongroom.clients,
    version integer NOT NULL CHECK (version > 0),
    class text NOT NULL CHECK (class IN ('declared', 'payee_verified', 'allowlisted')),
    network text NOT NULL,
    address text NOT NULL,
    record bytea NOT NULL,
    evidence bigint NOT NULL,
    created_at bigint NOT NULL,
    cooling_until bigint NOT NULL CHECK (cooling_until >= created_at),
    UNIQUE (beneficiary, version)
);

CREATE TABLE strongroom.runs (
    id text PRIMARY KEY CHECK (id ~ '^run_[a-z2-7]{26}$'),
    organisation text NOT NULL REFERENCES strongroom.organisations,
    client text NOT NULL REFERENCES strongroom.clients,
    idempotency_key text NOT NULL,
    external_id text,
    evidence bigint NOT NULL,
    leaf bigint NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX runs_listed ON strongroom.runs (organisation, leaf);

-- `summary` is what the run was after this call (count, totals, held); `frontier` the roots of its tree's complete
-- subtrees, so that a seal is checked without reading the items again.
CREATE TABLE strongroom.run_calls (
    run text NOT NULL REFERENCES strongroom.runs,
    first_index integer NOT NULL CHECK (first_index >= 0),
    count integer NOT NULL CHECK (count > 0),
    summary text NOT NULL,
    frontier bytea NOT NULL,
    evidence bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (run, first_index)
);

CREATE TABLE strongroom.run_seals (
    run text PRIMARY KEY REFERENCES strongroom.runs,
    count integer NOT NULL CHECK (count > 0),
    totals text NOT NULL,
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    evidence bigint NOT NULL,
    created_at bigint NOT NULL
);

-- The verbatim leaf of every item: with the seal it proves what was asked for, without the other items.
CREATE TABLE strongroom.run_items (
    run text NOT NULL,
    run_index integer NOT NULL,
    payout text NOT NULL,
    leaf bytea NOT NULL,
    PRIMARY KEY (run, run_index)
);

CREATE TABLE strongroom.payouts (
    id text PRIMARY KEY CHECK (id ~ '^po_[a-z2-7]{26}$'),
    organisation text NOT NULL,
    client text NOT NULL,
    key_id text NOT NULL,
    idempotency_key text NOT NULL,
    evidence bigint NOT NULL,
    leaf bigint NOT NULL,
    run text,
    run_index integer,
    beneficiary text NOT NULL,
    destination_digest text NOT NULL,
    asset text NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    reference_minor numeric(78, 0) NOT NULL,
    external_id text NOT NULL,
    remittance_information text,
    activities text,
    not_before bigint,
    expires_at bigint,
    replaces text,
    actor text,
    metadata text,
    approvals smallint NOT NULL,
    approval_groups smallint NOT NULL,
    limit_name text,
    counted boolean NOT NULL,
    posting bigint,
    intake_hold text,
    intake_retry_at bigint,
    created_at bigint NOT NULL,
    -- from here on, what changes on its road
    state text NOT NULL CHECK (state IN (
        'received', 'held', 'awaiting_approval', 'ready', 'planned', 'signed', 'broadcast', 'confirmed', 'settled',
        'declined', 'cancelled', 'expired', 'failed', 'returned')),
    hold text,
    retry_at bigint,
    due_at bigint,
    lease_until bigint,
    fence bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    updated_at bigint NOT NULL,
    CHECK ((run IS NULL) = (run_index IS NULL)),
    CHECK (counted = (posting IS NOT NULL)),
    CHECK ((state = 'held') = (hold IS NOT NULL))
);
CREATE UNIQUE INDEX payouts_external ON strongroom.payouts (client, external_id, beneficiary, coalesce(replaces, ''));
CREATE UNIQUE INDEX payouts_replaced_once ON strongroom.payouts (replaces) WHERE replaces IS NOT NULL;
CREATE UNIQUE INDEX payouts_of_run ON strongroom.payouts (run, run_index) WHERE run IS NOT NULL;
CREATE INDEX payouts_listed ON strongroom.payouts (organisation, leaf);

-- The columns before `state` say what was asked for and decided at intake: nobody changes them.
CREATE FUNCTION strongroom.payouts_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.id, OLD.organisation, OLD.client, OLD.key_id, OLD.idempotency_key, OLD.evidence, OLD.leaf, OLD.run,
        OLD.run_index, OLD.beneficiary, OLD.destination_digest, OLD.asset, OLD.amount, OLD.reference_minor,
        OLD.external_id, OLD.remittance_information, OLD.activities, OLD.not_before, OLD.expires_at, OLD.replaces,
        OLD.actor, OLD.metadata, OLD.approvals, OLD.approval_groups, OLD.limit_name, OLD.counted, OLD.posting,
        OLD.intake_hold, OLD.intake_retry_at, OLD.created_at)
       IS DISTINCT FROM
       (NEW.id, NEW.organisation, NEW.client, NEW.key_id, NEW.idempotency_key, NEW.evidence, NEW.leaf, NEW.run,
        NEW.run_index, NEW.beneficiary, NEW.destination_digest, NEW.asset, NEW.amount, NEW.reference_minor,
        NEW.external_id, NEW.remittance_information, NEW.activities, NEW.not_before, NEW.expires_at, NEW.replaces,
        NEW.actor, NEW.metadata, NEW.approvals, NEW.approval_groups, NEW.limit_name, NEW.counted, NEW.posting,
        NEW.intake_hold, NEW.intake_retry_at, NEW.created_at)
    THEN
        RAISE EXCEPTION 'what was asked for in payout % can''t be changed', OLD.id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE ON strongroom.payouts
    FOR EACH ROW EXECUTE FUNCTION strongroom.payouts_keep();
CREATE TRIGGER never_gone BEFORE DELETE OR TRUNCATE ON strongroom.payouts
    FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change();

CREATE TABLE strongroom.cancel_requests (
    object text PRIMARY KEY,
    organisation text NOT NULL,
    client text NOT NULL,
    evidence bigint NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE strongroom.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL,
    topic text NOT NULL,
    object text NOT NULL,
    created_at bigint NOT NULL
);

-- One row for every time that an intake writer took over; the newest is the only one that may record.
CREATE TABLE strongroom.intake_epochs (
    epoch bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    taken_at bigint NOT NULL
);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'deployment', 'organisations', 'policies', 'rosters', 'clients', 'client_keys', 'bearer_keys',
        'key_revocations', 'freezes', 'evidence', 'other_requests', 'beneficiaries', 'destinations', 'runs',
        'run_calls', 'run_seals', 'run_items', 'cancel_requests', 'outbox', 'intake_epochs'
    ] LOOP
        CALL strongroom.make_append_only(name);
    END LOOP;
END $$;
