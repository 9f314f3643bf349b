-- Changes of policy and roster that people propose: the documents, what people asserted over them, and what became of
-- each. The signer decides. What stands in `policies`, `rosters` and `client_keys` follows it, and never runs ahead.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- As `protocol/record` hashes what is signed: the type, a zero byte, and the verbatim bytes.
CREATE FUNCTION strongroom.change_hash(document text, raw bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(sha256(convert_to('strongroom/' || document || '/v1', 'UTF8') || '\x00'::bytea || raw), 'hex')
$$;

CREATE TABLE strongroom.proposed_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change text NOT NULL UNIQUE,
    organisation text NOT NULL REFERENCES strongroom.organisations,
    document text NOT NULL CHECK (document IN ('policy', 'roster')),
    raw bytea NOT NULL,
    proposer text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL CHECK (expires_at > created_at),
    CHECK (change = strongroom.change_hash(document, raw))
);
CREATE INDEX proposed_changes_listed ON strongroom.proposed_changes (organisation, id);

CREATE TABLE strongroom.change_assertions (
    change text NOT NULL REFERENCES strongroom.proposed_changes (change),
    person text NOT NULL,
    credential text NOT NULL,
    assertion text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (change, person, credential)
);

-- What became of a change, the newest row says. `due_at` is when a pending one is in force at the earliest, by the
-- engine's clock; the signer goes by its own.
CREATE TABLE strongroom.change_steps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change text NOT NULL REFERENCES strongroom.proposed_changes (change),
    state text NOT NULL CHECK (state IN (
        'handed', 'pending', 'refused', 'in_force', 'vetoed', 'superseded', 'expired')),
    detail text NOT NULL,
    due_at bigint,
    created_at bigint NOT NULL
);
CREATE INDEX change_steps_of ON strongroom.change_steps (change, id);
CREATE UNIQUE INDEX change_steps_end ON strongroom.change_steps (change)
    WHERE state IN ('in_force', 'vetoed', 'superseded', 'expired');

-- What a roster says that a key may ask for; the newest version does, and without any the key's own row.
CREATE TABLE strongroom.key_scopes (
    key_id text NOT NULL REFERENCES strongroom.client_keys,
    roster_version integer NOT NULL,
    scopes text[] NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (key_id, roster_version)
);

CALL strongroom.make_append_only('proposed_changes');
CALL strongroom.make_append_only('change_assertions');
CALL strongroom.make_append_only('change_steps');
CALL strongroom.make_append_only('key_scopes');

-- Somebody wants this document in force, with the assertion that says so. False if it was proposed before.
CREATE FUNCTION strongroom.change_propose(
    change text, organisation text, document text, raw bytea, proposer text, expires_at bigint, at bigint
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
DECLARE
    added integer;
BEGIN
    INSERT INTO proposed_changes (change, organisation, document, raw, proposer, created_at, expires_at)
        VALUES (change, organisation, document, raw, proposer, at, expires_at)
        ON CONFLICT ON CONSTRAINT proposed_changes_change_key DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added = 1 THEN
        PERFORM audit_append(json_build_object(
            'at', at, 'change', change, 'document', document, 'organisation', organisation, 'person', proposer,
            'type', 'strongroom/event/change-proposed/v1')::text);
    END IF;
    RETURN added = 1;
END $$;

-- Somebody's assertion over a change; the signer verifies it again. False if this credential's is there already.
CREATE FUNCTION strongroom.change_assert(change text, person text, credential text, assertion text, at bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
DECLARE
    added integer;
BEGIN
    INSERT INTO change_assertions VALUES (change, person, credential, assertion, at) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added = 1 THEN
        PERFORM audit_append(json_build_object(
            'at', at, 'change', change, 'person', person, 'type', 'strongroom/event/change-asserted/v1')::text);
    END IF;
    RETURN added = 1;
END $$;

-- What the signer said of a change, or that nobody wanted it in time.
CREATE FUNCTION strongroom.engine_change(change text, state text, detail text, due_at bigint, at bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    IF state = 'in_force' THEN
        RAISE EXCEPTION 'what is in force is adopted' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO change_steps (change, state, detail, due_at, created_at) VALUES (change, state, detail, due_at, at);
    PERFORM audit_append(json_build_object(
        'at', at, 'change', change, 'detail', detail, 'state', state,
        'type', 'strongroom/event/change-moved/v1')::text);
END $$;

-- The keys of a roster, a row each; a client without keys has a row without a key.
CREATE FUNCTION strongroom.roster_keys(roster jsonb)
RETURNS TABLE (client text, key_id text, public_key bytea, scopes text[]) LANGUAGE sql IMMUTABLE AS $$
    SELECT c.value ->> 'id', k.value ->> 'id', decode(k.value ->> 'public_key', 'hex'),
        ARRAY(SELECT jsonb_array_elements_text(k.value -> 'scopes'))
    FROM jsonb_array_elements(roster -> 'clients') c
    LEFT JOIN LATERAL jsonb_array_elements(c.value -> 'keys') k ON true
$$;

-- The clients of a roster that came into force: new ones, new keys, new scopes; keys that left it sign in no more.
-- An id or key that another organisation or client has stays theirs, whatever a roster says.
CREATE FUNCTION strongroom.adopt_clients(wanted text, roster jsonb, at bigint) RETURNS void LANGUAGE sql
SET search_path = strongroom, pg_temp AS $$
    INSERT INTO clients
        SELECT n.client, wanted, CASE
            WHEN bool_or('payouts:create' = ANY (n.scopes)) THEN 'payouts'
            WHEN bool_or('beneficiaries:create' = ANY (n.scopes)) THEN 'beneficiaries' ELSE 'reader' END, at
        FROM roster_keys(roster) n GROUP BY n.client ON CONFLICT DO NOTHING;
    INSERT INTO client_keys
        SELECT n.key_id, n.client, n.public_key, n.scopes, '{}', at
        FROM roster_keys(roster) n JOIN clients c ON c.id = n.client AND c.organisation = wanted
        WHERE n.key_id IS NOT NULL ON CONFLICT DO NOTHING;
    INSERT INTO key_scopes
        SELECT n.key_id, (roster ->> 'version')::integer, n.scopes, at
        FROM roster_keys(roster) n JOIN clients c ON c.id = n.client AND c.organisation = wanted
        JOIN client_keys k ON k.key_id = n.key_id AND k.client = n.client AND k.public_key = n.public_key;
    INSERT INTO key_revocations
        SELECT k.key_id, at FROM client_keys k JOIN clients c ON c.id = k.client
        WHERE c.organisation = wanted AND NOT EXISTS (SELECT FROM roster_keys(roster) n WHERE n.key_id = k.key_id)
        ON CONFLICT DO NOTHING;
$$;

-- The signer says that this change is in force: now the database says so too.
CREATE FUNCTION strongroom.engine_adopt(wanted text, at bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
DECLARE
    found proposed_changes;
    document jsonb;
    version integer;
BEGIN
    SELECT * INTO STRICT found FROM proposed_changes p WHERE p.change = wanted;
    IF found.change <> change_hash(found.document, found.raw) THEN
        RAISE EXCEPTION 'the bytes of % aren''t those that were proposed', wanted USING ERRCODE = 'check_violation';
    END IF;
    document := convert_from(found.raw, 'UTF8')::jsonb;
    version := (document ->> 'version')::integer;
    IF found.document = 'policy' THEN
        IF version <= (SELECT max(p.version) FROM policies p WHERE p.organisation = found.organisation) THEN
            RAISE EXCEPTION 'policy % is there already', version USING ERRCODE = 'check_violation';
        END IF;
        INSERT INTO policies VALUES (found.organisation, version, found.raw, at);
        INSERT INTO ledger_accounts (organisation, account, asset)
            SELECT found.organisation, name, rule.value ->> 'asset' FROM jsonb_array_elements(document -> 'assets') rule,
                unnest(ARRAY['wallet:hot', 'company:funding', 'payouts']) name
            ON CONFLICT DO NOTHING;
    ELSE
        IF version <= (SELECT max(r.version) FROM rosters r WHERE r.organisation = found.organisation) THEN
            RAISE EXCEPTION 'roster % is there already', version USING ERRCODE = 'check_violation';
        END IF;
        INSERT INTO rosters VALUES (found.organisation, version, found.raw, at);
        PERFORM adopt_clients(found.organisation, document, at);
    END IF;
    INSERT INTO change_steps (change, state, detail, due_at, created_at) VALUES (wanted, 'in_force', '', NULL, at);
    PERFORM audit_append(json_build_object(
        'at', at, 'change', wanted, 'document', found.document, 'organisation', found.organisation,
        'type', 'strongroom/event/change-in-force/v1', 'version', version)::text);
END $$;

REVOKE EXECUTE ON FUNCTION strongroom.change_hash, strongroom.change_propose, strongroom.change_assert,
    strongroom.engine_change, strongroom.engine_adopt, strongroom.adopt_clients, strongroom.roster_keys FROM PUBLIC;

GRANT SELECT ON strongroom.proposed_changes, strongroom.change_assertions, strongroom.change_steps,
    strongroom.key_scopes TO strongroom_api, strongroom_console;
GRANT SELECT ON strongroom.proposed_changes, strongroom.change_assertions, strongroom.change_steps, strongroom.rosters
    TO strongroom_engine;
GRANT EXECUTE ON FUNCTION strongroom.change_propose, strongroom.change_assert TO strongroom_api, strongroom_console;
GRANT EXECUTE ON FUNCTION strongroom.engine_change, strongroom.engine_adopt TO strongroom_engine;
