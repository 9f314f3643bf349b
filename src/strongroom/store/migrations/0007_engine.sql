-- What the engine may write: the road of a payout from `received` on. Its role holds no grant to change a table, only
-- these functions. A move that the table of moves doesn't have is refused here as well; an unpaid end needs the signer's
-- receipt; what was planned and signed is kept, byte for byte, before it is used.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE strongroom.ledger_accounts DROP CONSTRAINT ledger_accounts_account_check;
ALTER TABLE strongroom.ledger_accounts ADD CONSTRAINT ledger_accounts_account_check
    CHECK (account IN ('wallet:hot', 'company:funding', 'payouts', 'fees', 'suspense'));

-- domain/payout.py's MOVES; a test holds the two against each other.
CREATE TABLE strongroom.payout_moves (
    before text NOT NULL,
    after text NOT NULL,
    PRIMARY KEY (before, after)
);
INSERT INTO strongroom.payout_moves
SELECT before, unnest(string_to_array(afters, ' ')) FROM (VALUES
    ('received', 'held awaiting_approval ready declined cancelled expired failed'),
    ('held', 'received awaiting_approval ready declined cancelled expired failed'),
    ('awaiting_approval', 'held ready declined cancelled expired failed'),
    ('ready', 'held awaiting_approval planned declined cancelled expired failed'),
    ('planned', 'ready signed failed'),
    ('signed', 'broadcast failed'),
    ('broadcast', 'confirmed failed'),
    ('confirmed', 'broadcast settled failed'),
    ('settled', 'confirmed broadcast returned')
) AS moves (before, afters);

-- What the signer has acknowledged: destination digests, payouts, runs.
CREATE TABLE strongroom.registrations (
    object text PRIMARY KEY,
    organisation text NOT NULL,
    created_at bigint NOT NULL
);

-- A reservation that intake didn't make, for a payout that waited for funds or for room.
CREATE TABLE strongroom.reservations (
    payout text PRIMARY KEY REFERENCES strongroom.payouts,
    posting bigint NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE strongroom.approval_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL REFERENCES strongroom.organisations,
    subject text NOT NULL,
    request bytea NOT NULL,
    request_hash text NOT NULL UNIQUE CHECK (request_hash ~ '^[0-9a-f]{64}$'),
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    approvals smallint NOT NULL CHECK (approvals > 0),
    groups smallint NOT NULL CHECK (groups > 0),
    created_at bigint NOT NULL
);
CREATE INDEX approval_requests_of ON strongroom.approval_requests (subject, id);

CREATE TABLE strongroom.approval_assertions (
    request_hash text NOT NULL REFERENCES strongroom.approval_requests (request_hash),
    person text NOT NULL,
    credential text NOT NULL,
    assertion text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (request_hash, person, credential)
);

-- The signer's word that an object was never signed and never will be.
CREATE TABLE strongroom.receipts (
    object text PRIMARY KEY,
    organisation text NOT NULL,
    receipt bytea NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    created_at bigint NOT NULL
);

-- Chain transactions as planned, and as signed. `paths` say which key each input is of. What changes is how far it is.
CREATE TABLE strongroom.attempts (
    chain_transaction text PRIMARY KEY,
    organisation text NOT NULL REFERENCES strongroom.organisations,
    network text NOT NULL,
    asset text NOT NULL,
    operation text NOT NULL,
    unsigned bytea NOT NULL,
    paths text NOT NULL,
    fee numeric(78, 0) NOT NULL CHECK (fee >= 0),
    created_at bigint NOT NULL,
    signed bytea,
    state text NOT NULL CHECK (state IN ('planned', 'dropped', 'signed', 'broadcast', 'confirmed', 'settled')),
    updated_at bigint NOT NULL,
    CHECK (signed IS NOT NULL OR state IN ('planned', 'dropped'))
);
CREATE INDEX attempts_under_way ON strongroom.attempts (organisation, created_at)
    WHERE state NOT IN ('dropped', 'settled');
CREATE TABLE strongroom.attempt_payouts (
    chain_transaction text NOT NULL REFERENCES strongroom.attempts,
    payout text NOT NULL REFERENCES strongroom.payouts,
    position integer NOT NULL,
    PRIMARY KEY (chain_transaction, payout)
);
CREATE INDEX attempt_payouts_of ON strongroom.attempt_payouts (payout);
CREATE TABLE strongroom.attempt_coins (
    chain_transaction text NOT NULL REFERENCES strongroom.attempts,
    outpoint text NOT NULL,
    PRIMARY KEY (chain_transaction, outpoint)
);
CREATE INDEX attempt_coins_of ON strongroom.attempt_coins (outpoint);

-- What watch saw of a chain transaction, each time that it changed. `height` is null while it is in no block.
CREATE TABLE strongroom.chain_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_transaction text NOT NULL,
    status text NOT NULL CHECK (status IN ('unseen', 'pending', 'confirmed', 'conflicted')),
    height bigint,
    block_hash text,
    depth integer,
    created_at bigint NOT NULL
);
CREATE INDEX chain_reports_newest ON strongroom.chain_reports (chain_transaction, id);

CREATE INDEX payouts_due ON strongroom.payouts (organisation, due_at)
    WHERE state IN ('received', 'held', 'awaiting_approval', 'ready');

CREATE FUNCTION strongroom.attempts_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.chain_transaction, OLD.organisation, OLD.network, OLD.asset, OLD.operation, OLD.unsigned, OLD.paths, OLD.fee)
       IS DISTINCT FROM
       (NEW.chain_transaction, NEW.organisation, NEW.network, NEW.asset, NEW.operation, NEW.unsigned, NEW.paths, NEW.fee)
       OR (OLD.signed IS NOT NULL AND OLD.signed IS DISTINCT FROM NEW.signed)
    THEN
        RAISE EXCEPTION 'what was planned or signed as % can''t be changed', OLD.chain_transaction
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE ON strongroom.attempts FOR EACH ROW EXECUTE FUNCTION strongroom.attempts_keep();
CREATE TRIGGER never_gone BEFORE DELETE OR TRUNCATE ON strongroom.attempts
    FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change();

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'payout_moves', 'registrations', 'reservations', 'approval_requests', 'approval_assertions', 'receipts',
        'attempt_payouts', 'attempt_coins', 'chain_reports'
    ] LOOP
        CALL strongroom.make_append_only(name);
    END LOOP;
END $$;

CREATE FUNCTION strongroom.engine_register(object text[], organisation text, at bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO registrations SELECT unnest(object), engine_register.organisation, at ON CONFLICT DO NOTHING
$$;

-- The pending posting that holds a payout's money, null if none does.
CREATE FUNCTION strongroom.engine_posting(wanted text) RETURNS bigint LANGUAGE sql STABLE
SET search_path = strongroom, pg_temp AS $$
    SELECT coalesce(p.posting, r.posting) FROM payouts p LEFT JOIN reservations r ON r.payout = p.id WHERE p.id = wanted
$$;

-- Reserve for payouts that hold no money yet. Raises check_violation if the wallet hasn't enough for all of them.
CREATE FUNCTION strongroom.engine_reserve(payout text[], at bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
BEGIN
    WITH wanted AS MATERIALIZED (
        SELECT p.id, p.amount, debit.id AS debit, credit.id AS credit, nextval('ledger_postings_id_seq') AS posting
        FROM payouts p
        JOIN ledger_accounts debit ON (debit.organisation, debit.account, debit.asset)
            = (p.organisation, 'payouts', p.asset)
        JOIN ledger_accounts credit ON (credit.organisation, credit.account, credit.asset)
            = (p.organisation, 'wallet:hot', p.asset)
        WHERE p.id = ANY (payout) AND engine_posting(p.id) IS NULL
    ), noted AS (
        INSERT INTO reservations SELECT id, posting, at FROM wanted
    )
    INSERT INTO ledger_postings (id, kind, debit_account, credit_account, amount, entry, created_at)
        OVERRIDING SYSTEM VALUE SELECT posting, 'pending', debit, credit, amount, id, at FROM wanted;
END $$;

CREATE FUNCTION strongroom.engine_finish(payout text[], kind text, at bigint) RETURNS void LANGUAGE sql
SET search_path = strongroom, pg_temp AS $$
    INSERT INTO ledger_postings (kind, settles, debit_account, credit_account, amount, entry, created_at)
    SELECT engine_finish.kind, held.id, held.debit_account, held.credit_account, held.amount, held.entry, at
    FROM unnest(payout) AS wanted (id) JOIN ledger_postings held ON held.id = engine_posting(wanted.id)
    WHERE NOT EXISTS (SELECT FROM ledger_postings done WHERE done.settles = held.id)
$$;

-- Move payouts from one state to another, all of them or none, with an audit leaf and an outbox row for each.
CREATE FUNCTION strongroom.engine_move(
    payout text[], before text, after text, hold text, retry_at bigint, reason text, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    moved integer;
BEGIN
    IF NOT EXISTS (SELECT FROM payout_moves WHERE before = engine_move.before AND after = engine_move.after) THEN
        RAISE EXCEPTION 'a payout can''t go from % to %', before, after USING ERRCODE = 'check_violation';
    END IF;
    IF after IN ('declined', 'cancelled', 'expired', 'failed') AND EXISTS (
        SELECT FROM payouts p WHERE p.id = ANY (engine_move.payout)
            AND NOT EXISTS (SELECT FROM receipts r WHERE r.object = p.id OR r.object = p.run)
    ) THEN
        RAISE EXCEPTION 'an unpaid end needs the signer''s receipt' USING ERRCODE = 'check_violation';
    END IF;
    UPDATE payouts SET state = engine_move.after, hold = engine_move.hold, retry_at = engine_move.retry_at,
        due_at = coalesce(engine_move.retry_at, engine_move.at), updated_at = engine_move.at
        WHERE id = ANY (engine_move.payout) AND state = engine_move.before;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(payout) THEN
        RAISE EXCEPTION '% of % payouts aren''t %', cardinality(payout) - moved, cardinality(payout), before
            USING ERRCODE = 'check_violation';
    END IF;
    IF after IN ('declined', 'cancelled', 'expired', 'failed') THEN
        PERFORM engine_finish(payout, 'void_pending', at);
    ELSIF after = 'settled' THEN
        PERFORM engine_finish(payout, 'post_pending', at);
    END IF;
    PERFORM audit_append(json_build_object(
        'after', after, 'at', at, 'before', before, 'hold', hold, 'id', id, 'reason', reason,
        'type', 'strongroom/event/payout-moved/v1')::text) FROM unnest(payout) AS each (id);
    INSERT INTO outbox (organisation, topic, object, created_at)
        SELECT organisation, 'payout.' || engine_move.after, id, engine_move.at FROM payouts
        WHERE id = ANY (engine_move.payout);
END $$;

-- A payout that stays where it is, to be looked at again later.
CREATE FUNCTION strongroom.engine_wait(payout text[], due_at bigint) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
    UPDATE payouts SET due_at = engine_wait.due_at WHERE id = ANY (payout)
$$;

CREATE FUNCTION strongroom.engine_request(
    organisation text, subject text, request bytea, request_hash text, signature bytea, approvals smallint,
    groups smallint, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    INSERT INTO approval_requests (organisation, subject, request, request_hash, signature, approvals, groups, created_at)
        VALUES (organisation, subject, request, request_hash, signature, approvals, groups, at);
    PERFORM audit_append(json_build_object(
        'at', at, 'organisation', organisation, 'request', request_hash, 'subject', subject,
        'type', 'strongroom/event/approval-requested/v1')::text);
END $$;

CREATE FUNCTION strongroom.engine_receipt(object text, organisation text, receipt bytea, signature bytea, at bigint)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO receipts VALUES (object, organisation, receipt, signature, at) ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION strongroom.engine_plan(
    chain_transaction text, organisation text, network text, asset text, operation text, unsigned bytea, paths text,
    fee text, payout text[], outpoint text[], at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    INSERT INTO attempts VALUES (
        chain_transaction, organisation, network, asset, operation, unsigned, paths, fee::numeric, at, NULL, 'planned',
        at)
        ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE SET state = 'planned', updated_at = excluded.updated_at
        WHERE attempts.state = 'dropped';
    IF NOT FOUND THEN
        RAISE EXCEPTION '% was planned already', chain_transaction USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO attempt_payouts SELECT engine_plan.chain_transaction, id, ordinal
        FROM unnest(payout) WITH ORDINALITY AS each (id, ordinal) ON CONFLICT DO NOTHING;
    INSERT INTO attempt_coins SELECT engine_plan.chain_transaction, unnest(outpoint) ON CONFLICT DO NOTHING;
    -- The same bytes could pay others of the same address and amount: then they must be other bytes.
    IF payout <> (SELECT array_agg(p.payout ORDER BY p.position) FROM attempt_payouts p
        WHERE p.chain_transaction = engine_plan.chain_transaction)
    THEN
        RAISE EXCEPTION '% was planned for other payouts', chain_transaction USING ERRCODE = 'check_violation';
    END IF;
END $$;

-- How far an attempt is; `signed` once, with the bytes.
CREATE FUNCTION strongroom.engine_attempt(chain_transaction text, state text, signed bytea, at bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE attempts SET state = engine_attempt.state, signed = coalesce(signed, engine_attempt.signed),
        updated_at = engine_attempt.at WHERE chain_transaction = engine_attempt.chain_transaction;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no attempt %', chain_transaction USING ERRCODE = 'check_violation';
    END IF;
END $$;

-- The fee of a settled attempt, once.
CREATE FUNCTION strongroom.engine_fee(wanted text, at bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
BEGIN
    INSERT INTO ledger_accounts (organisation, account, asset)
        SELECT organisation, 'fees', asset FROM attempts WHERE chain_transaction = wanted ON CONFLICT DO NOTHING;
    INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
        SELECT 'posted', debit.id, credit.id, a.fee, 'fee:' || a.chain_transaction, at FROM attempts a
        JOIN ledger_accounts debit ON (debit.organisation, debit.account, debit.asset)
            = (a.organisation, 'fees', a.asset)
        JOIN ledger_accounts credit ON (credit.organisation, credit.account, credit.asset)
            = (a.organisation, 'wallet:hot', a.asset)
        WHERE a.chain_transaction = wanted AND a.fee > 0
            AND NOT EXISTS (SELECT FROM ledger_postings WHERE entry = 'fee:' || wanted);
END $$;
CREATE INDEX ledger_postings_entry ON strongroom.ledger_postings (entry) WHERE kind = 'posted';

-- An approver's assertion over a request, as the API took it; the signer verifies it, nobody here does.
CREATE FUNCTION strongroom.approve(request_hash text, person text, credential text, assertion text, at bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    added integer;
BEGIN
    INSERT INTO approval_assertions VALUES (request_hash, person, credential, assertion, at) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added = 1 THEN
        PERFORM audit_append(json_build_object(
            'at', at, 'person', person, 'request', request_hash,
            'type', 'strongroom/event/approval-given/v1')::text);
        UPDATE payouts SET due_at = approve.at FROM approval_requests r
            WHERE r.request_hash = approve.request_hash AND (payouts.id = r.subject OR payouts.run = r.subject)
            AND state = 'awaiting_approval';
    END IF;
    RETURN added = 1;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA strongroom FROM PUBLIC;

GRANT SELECT ON
    strongroom.deployment, strongroom.organisations, strongroom.policies, strongroom.evidence, strongroom.beneficiaries,
    strongroom.destinations, strongroom.runs, strongroom.run_calls, strongroom.run_seals, strongroom.run_items,
    strongroom.payouts, strongroom.cancel_requests, strongroom.ledger_accounts, strongroom.registrations,
    strongroom.reservations, strongroom.approval_requests, strongroom.approval_assertions, strongroom.receipts,
    strongroom.attempts, strongroom.attempt_payouts, strongroom.attempt_coins, strongroom.chain_reports,
    strongroom.migrations
TO strongroom_engine;
GRANT EXECUTE ON FUNCTION
    strongroom.engine_register, strongroom.engine_reserve, strongroom.engine_move, strongroom.engine_wait,
    strongroom.engine_request, strongroom.engine_receipt, strongroom.engine_plan, strongroom.engine_attempt,
    strongroom.engine_fee, strongroom.engine_posting
TO strongroom_engine;

GRANT SELECT ON strongroom.attempts, strongroom.chain_reports, strongroom.organisations, strongroom.ledger_accounts,
    strongroom.policies TO strongroom_watch;
GRANT INSERT ON strongroom.chain_reports TO strongroom_watch;

GRANT SELECT ON
    strongroom.approval_requests, strongroom.approval_assertions, strongroom.receipts, strongroom.attempts,
    strongroom.attempt_payouts, strongroom.chain_reports, strongroom.rosters, strongroom.registrations
TO strongroom_api;
GRANT EXECUTE ON FUNCTION strongroom.approve TO strongroom_api;
