-- What the console keeps of people: the passkeys that they sign in with, invitations, sessions, and challenges.
-- None of it moves money: a forged row lets somebody see, and ask nothing that isn't asserted again at the station.
-- The console's role changes nothing but by these functions, each of which tells the audit log.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE strongroom.console_credentials (
    credential text PRIMARY KEY CHECK (credential ~ '^([0-9a-f]{2})+$' AND length(credential) <= 2046),
    organisation text NOT NULL REFERENCES strongroom.organisations,
    person text NOT NULL CHECK (person ~ '^pe_[a-z2-7]{26}$'),
    public_key bytea NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('passkey', 'software')),
    name text NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX console_credentials_of ON strongroom.console_credentials (organisation, person);
CREATE TABLE strongroom.console_credential_ends (
    credential text PRIMARY KEY REFERENCES strongroom.console_credentials,
    by_person text NOT NULL,
    created_at bigint NOT NULL
);

-- A link that lets one person make a passkey, once. `needs` people consent to it, none of them that person: one admin
-- for who had no passkey yet, two for who had. The first is consented to by who founded the deployment.
CREATE TABLE strongroom.console_invitations (
    id text PRIMARY KEY CHECK (id ~ '^inv_[a-z2-7]{26}$'),
    organisation text NOT NULL REFERENCES strongroom.organisations,
    person text NOT NULL CHECK (person ~ '^pe_[a-z2-7]{26}$'),
    needs smallint NOT NULL CHECK (needs BETWEEN 1 AND 2),
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX console_invitations_listed ON strongroom.console_invitations (organisation, created_at);
CREATE TABLE strongroom.console_consents (
    invitation text NOT NULL REFERENCES strongroom.console_invitations,
    by_person text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (invitation, by_person)
);
CREATE TABLE strongroom.console_invitation_tokens (
    invitation text PRIMARY KEY REFERENCES strongroom.console_invitations,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at bigint NOT NULL
);
CREATE TABLE strongroom.console_invitation_uses (
    invitation text PRIMARY KEY REFERENCES strongroom.console_invitations,
    credential text NOT NULL,
    created_at bigint NOT NULL
);

-- `browser_hash` and `network` are what the session is bound to; `roles` what the person could do when its token was
-- drawn last: another set draws another. Of the token only the hash is here.
CREATE TABLE strongroom.console_sessions (
    id text PRIMARY KEY CHECK (id ~ '^se_[a-z2-7]{26}$'),
    organisation text NOT NULL REFERENCES strongroom.organisations,
    person text NOT NULL,
    credential text NOT NULL REFERENCES strongroom.console_credentials,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    browser text NOT NULL,
    browser_hash bytea NOT NULL,
    network text NOT NULL,
    roles text NOT NULL,
    created_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    is_confirmed boolean NOT NULL DEFAULT true,
    stepped_up_at bigint,
    ended_at bigint,
    ended_why text,
    CHECK ((ended_at IS NULL) = (ended_why IS NULL))
);
CREATE INDEX console_sessions_live ON strongroom.console_sessions (organisation, seen_at) WHERE ended_at IS NULL;
CREATE INDEX console_sessions_of ON strongroom.console_sessions (person, created_at);

-- What a passkey was asked to sign, each used once. `record` is the change that a step-up is bound to.
CREATE TABLE strongroom.console_challenges (
    challenge bytea PRIMARY KEY CHECK (octet_length(challenge) = 32),
    purpose text NOT NULL CHECK (purpose IN ('sign_in', 'step_up', 'items', 'enrol')),
    session text,
    record text,
    expires_at bigint NOT NULL
);
CREATE INDEX console_challenges_expired ON strongroom.console_challenges (expires_at);

-- Each thing that somebody did or was refused on a page, for the baseline of that person.
CREATE TABLE strongroom.console_acts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL,
    person text NOT NULL,
    session text,
    act text NOT NULL,
    network text NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX console_acts_of ON strongroom.console_acts (person, created_at);

-- What people asserted at the station for guard, and what guard said: `control_length` is null while more of them are
-- needed. Guard and signer believe none of this; the next person joins what stands here.
CREATE TABLE strongroom.console_instructions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL REFERENCES strongroom.organisations,
    action text NOT NULL,
    object text NOT NULL,
    record text NOT NULL,
    assertions text NOT NULL,
    control_length bigint,
    by_person text NOT NULL,
    expires_at bigint NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX console_instructions_of ON strongroom.console_instructions (organisation, id);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'console_credentials', 'console_credential_ends', 'console_invitations', 'console_consents',
        'console_invitation_tokens', 'console_invitation_uses', 'console_acts', 'console_instructions'
    ] LOOP
        CALL strongroom.make_append_only(name);
    END LOOP;
END $$;

-- Somebody did something, or was refused it: a leaf of the audit log, and a row for the person's baseline.
CREATE FUNCTION strongroom.console_act(
    organisation text, person text, session text, act text, object text, detail text, network text, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    INSERT INTO console_acts (organisation, person, session, act, network, created_at)
        VALUES (organisation, person, session, act, network, at);
    PERFORM audit_append(json_build_object(
        'act', act, 'at', at, 'detail', detail, 'object', object, 'organisation', organisation, 'person', person,
        'session', session, 'type', 'strongroom/event/console-act/v1')::text);
END $$;

CREATE FUNCTION strongroom.console_instruct(
    organisation text, action text, object text, record text, assertions text, control_length bigint, by_person text,
    network text, expires_at bigint, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    INSERT INTO console_instructions
        (organisation, action, object, record, assertions, control_length, by_person, expires_at, created_at)
        VALUES (organisation, action, object, record, assertions, control_length, by_person, expires_at, at);
    PERFORM console_act(organisation, by_person, NULL, 'instruct_' || action, object,
        CASE WHEN control_length IS NULL THEN 'more people are needed' ELSE 'kept by guard' END, network, at);
END $$;

CREATE FUNCTION strongroom.console_challenge(
    challenge bytea, purpose text, session text, record text, expires_at bigint, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    DELETE FROM console_challenges c WHERE c.challenge IN (
        SELECT o.challenge FROM console_challenges o WHERE o.expires_at < at LIMIT 100 FOR UPDATE SKIP LOCKED);
    INSERT INTO console_challenges VALUES (challenge, purpose, session, record, expires_at);
END $$;

-- The record of a challenge that nobody used before, and which is gone now. No row: it isn't good.
CREATE FUNCTION strongroom.console_answer(challenge bytea, purpose text, session text, at bigint)
RETURNS TABLE (record text) LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    DELETE FROM console_challenges c WHERE c.challenge = $1 AND c.purpose = $2 AND c.session IS NOT DISTINCT FROM $3
        AND c.expires_at >= $4 RETURNING c.record
$$;

CREATE FUNCTION strongroom.console_enrol(
    token_hash bytea, credential text, public_key bytea, kind text, name text, at bigint
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    invited console_invitations;
BEGIN
    SELECT i.* INTO invited FROM console_invitations i JOIN console_invitation_tokens t ON t.invitation = i.id
        WHERE t.token_hash = token_hash AND i.expires_at >= at
        AND NOT EXISTS (SELECT FROM console_invitation_uses u WHERE u.invitation = i.id)
        AND (SELECT count(*) FROM console_consents c WHERE c.invitation = i.id AND c.by_person <> i.person) >= i.needs;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO console_credentials
        VALUES (credential, invited.organisation, invited.person, public_key, kind, name, at);
    INSERT INTO console_invitation_uses VALUES (invited.id, credential, at);
    PERFORM audit_append(json_build_object(
        'at', at, 'credential', credential, 'invitation', invited.id, 'kind', kind, 'organisation', invited.organisation,
        'person', invited.person, 'type', 'strongroom/event/console-passkey-enrolled/v1')::text);
    RETURN invited.person;
END $$;

-- Whom an open invitation is for.
CREATE FUNCTION strongroom.console_invited(token_hash bytea, at bigint)
RETURNS TABLE (organisation text, person text) LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    SELECT i.organisation, i.person FROM console_invitations i JOIN console_invitation_tokens t ON t.invitation = i.id
        WHERE t.token_hash = $1 AND i.expires_at >= $2
        AND NOT EXISTS (SELECT FROM console_invitation_uses u WHERE u.invitation = i.id)
$$;

CREATE FUNCTION strongroom.console_sign_in(
    id text, organisation text, person text, credential text, token_hash bytea, browser text, browser_hash bytea,
    network text, roles text, expires_at bigint, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO console_sessions (id, organisation, person, credential, token_hash, browser, browser_hash, network,
        roles, created_at, seen_at, expires_at)
        VALUES (id, organisation, person, credential, token_hash, browser, browser_hash, network, roles, at, at,
            expires_at);
    PERFORM console_act(organisation, person, id, 'sign_in', credential, browser, network, at);
END $$;

-- Seen again; `is_confirmed` false once it comes from a network that isn't the session's.
CREATE FUNCTION strongroom.console_seen(id text, is_confirmed boolean, at bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    UPDATE console_sessions s SET seen_at = greatest(s.seen_at, $3), is_confirmed = s.is_confirmed AND $2
    WHERE s.id = $1 AND s.ended_at IS NULL
$$;

-- Another token: after a step-up, or when what the person may do has changed. The old one is worth nothing from now on.
CREATE FUNCTION strongroom.console_rotate(
    id text, before bytea, token_hash bytea, network text, roles text, stepped_up_at bigint, at bigint
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    UPDATE console_sessions s SET token_hash = token_hash, network = network, roles = roles, is_confirmed = true,
        stepped_up_at = coalesce(console_rotate.stepped_up_at, s.stepped_up_at), seen_at = greatest(s.seen_at, at)
        WHERE s.id = id AND s.token_hash = before AND s.ended_at IS NULL;
    RETURN FOUND;
END $$;

-- End sessions; how many were live.
CREATE FUNCTION strongroom.console_end(ids text[], why text, by_person text, network text, at bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    each record;
    ended integer := 0;
BEGIN
    FOR each IN UPDATE console_sessions s SET ended_at = at, ended_why = why
        WHERE s.id = ANY (ids) AND s.ended_at IS NULL RETURNING s.id, s.organisation, s.person
    LOOP
        ended := ended + 1;
        PERFORM console_act(each.organisation, coalesce(by_person, each.person), each.id, 'end_session', each.person,
            why, network, at);
    END LOOP;
    RETURN ended;
END $$;

CREATE FUNCTION strongroom.console_invite(
    id text, organisation text, person text, by_person text, network text, expires_at bigint, at bigint
) RETURNS smallint LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    needs smallint := CASE WHEN by_person <> 'founder' AND EXISTS (SELECT FROM console_credentials c
        WHERE c.organisation = organisation AND c.person = person) THEN 2 ELSE 1 END;
BEGIN
    INSERT INTO console_invitations VALUES (id, organisation, person, needs, at, expires_at);
    PERFORM console_act(organisation, by_person, NULL, 'invite', person, id, network, at);
    RETURN needs;
END $$;

-- An admin consents. True once there are enough: then the token is good.
CREATE FUNCTION strongroom.console_consent(
    invitation text, organisation text, by_person text, token_hash bytea, network text, at bigint
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    invited console_invitations;
BEGIN
    SELECT i.* INTO invited FROM console_invitations i
        WHERE i.id = invitation AND i.organisation = organisation AND i.expires_at >= at AND i.person <> by_person
        AND NOT EXISTS (SELECT FROM console_invitation_tokens t WHERE t.invitation = i.id);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such invitation that % may consent to', by_person USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO console_consents VALUES (invitation, by_person, at) ON CONFLICT DO NOTHING;
    PERFORM console_act(organisation, by_person, NULL, 'consent', invited.person, invitation, network, at);
    IF (SELECT count(*) FROM console_consents c WHERE c.invitation = invited.id) < invited.needs THEN
        RETURN false;
    END IF;
    INSERT INTO console_invitation_tokens VALUES (invitation, token_hash, at);
    RETURN true;
END $$;

CREATE FUNCTION strongroom.console_end_credential(
    credential text, organisation text, by_person text, network text, at bigint
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO console_credential_ends SELECT c.credential, by_person, at FROM console_credentials c
        WHERE c.credential = credential AND c.organisation = organisation ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM console_act(organisation, by_person, NULL, 'end_credential', credential, NULL, network, at);
    PERFORM console_end(ARRAY(SELECT s.id FROM console_sessions s WHERE s.credential = credential
        AND s.ended_at IS NULL), 'its passkey was taken away', by_person, network, at);
    RETURN true;
END $$;

-- By which words a leaf of the audit log is found: the ids in it, its kind, and whose it is. Watch writes them as it puts
-- leaves into the tree. They prove nothing, and point to what does.
CREATE TABLE strongroom.audit_words (
    word text NOT NULL,
    leaf_index bigint NOT NULL,
    PRIMARY KEY (word, leaf_index)
);
CALL strongroom.make_append_only('audit_words');
CREATE FUNCTION strongroom.watch_words(words text[], indexes bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    INSERT INTO audit_words SELECT DISTINCT each.word, each.place FROM unnest(words, indexes) AS each (word, place)
        ON CONFLICT DO NOTHING;
    INSERT INTO audit_words SELECT DISTINCT p.organisation, each.place
        FROM unnest(words, indexes) AS each (word, place) JOIN payouts p ON p.id = each.word ON CONFLICT DO NOTHING;
END $$;

-- For lists that begin with the newest, or look for one thing.
CREATE INDEX payouts_waiting ON strongroom.payouts (organisation, state, leaf)
    WHERE state IN ('held', 'awaiting_approval', 'failed', 'returned');
CREATE INDEX attempts_signed ON strongroom.attempts (organisation, signed_at) WHERE signed IS NOT NULL;
CREATE INDEX destinations_ending ON strongroom.destinations (organisation, network, lower(right(address, 3)));
CREATE INDEX beneficiaries_by_name ON strongroom.beneficiaries (organisation, lower(name) text_pattern_ops);
CREATE INDEX payouts_by_external ON strongroom.payouts (organisation, external_id);
CREATE INDEX evidence_of_key ON strongroom.evidence (key_id, id);
CREATE INDEX payouts_by_beneficiary ON strongroom.payouts (beneficiary, leaf);

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA strongroom FROM PUBLIC;

GRANT EXECUTE ON FUNCTION strongroom.watch_words TO strongroom_watch;

GRANT SELECT ON
    strongroom.deployment, strongroom.organisations, strongroom.policies, strongroom.rosters, strongroom.clients,
    strongroom.client_keys, strongroom.bearer_keys, strongroom.key_revocations, strongroom.freezes,
    strongroom.evidence, strongroom.beneficiaries, strongroom.destinations, strongroom.runs, strongroom.run_calls,
    strongroom.run_seals, strongroom.run_items, strongroom.payouts, strongroom.cancel_requests,
    strongroom.ledger_accounts, strongroom.ledger_postings, strongroom.registrations, strongroom.refusals,
    strongroom.approval_requests, strongroom.approval_assertions, strongroom.receipts, strongroom.attempts,
    strongroom.attempt_payouts, strongroom.chain_reports, strongroom.chain_names, strongroom.reconciliations,
    strongroom.alarms, strongroom.audit_leaves, strongroom.audit_sequence, strongroom.audit_nodes,
    strongroom.audit_checkpoints, strongroom.audit_cosignatures, strongroom.migrations,
    strongroom.console_credentials, strongroom.console_credential_ends, strongroom.console_invitations,
    strongroom.console_consents, strongroom.console_invitation_uses, strongroom.console_sessions,
    strongroom.console_acts, strongroom.console_instructions, strongroom.audit_words
TO strongroom_console;
GRANT EXECUTE ON FUNCTION
    strongroom.approve, strongroom.console_act, strongroom.console_challenge, strongroom.console_answer,
    strongroom.console_enrol, strongroom.console_invited, strongroom.console_sign_in, strongroom.console_seen,
    strongroom.console_rotate, strongroom.console_end,
    strongroom.console_instruct, strongroom.console_invite, strongroom.console_consent,
    strongroom.console_end_credential
TO strongroom_console;
