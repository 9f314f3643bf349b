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

-- Why a payout is as it is: the rule or fault, who says so, and its words. Cleared by a move that needs no reason.
ALTER TABLE strongroom.payouts ADD COLUMN status_code text, ADD COLUMN status_source text,
    ADD COLUMN status_detail text;

-- What the signer has acknowledged: destination digests, payouts, runs.
CREATE TABLE strongroom.registrations (
    object text PRIMARY KEY,
    organisation text NOT NULL,
    created_at bigint NOT NULL
);

-- What the signer refused to acknowledge, each time; the newest row says when it is shown it again.
CREATE TABLE strongroom.refusals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object text NOT NULL,
    organisation text NOT NULL,
    rule text NOT NULL,
    reason text NOT NULL,
    tries integer NOT NULL,
    due_at bigint NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX refusals_of ON strongroom.refusals (object, id);

-- A reservation that intake didn't make: for a payout that waited for funds or for room, or that a reorg moved back.
CREATE TABLE strongroom.reservations (
    posting bigint PRIMARY KEY,
    payout text NOT NULL REFERENCES strongroom.payouts,
    created_at bigint NOT NULL
);
CREATE INDEX reservations_of ON strongroom.reservations (payout);

-- Where an organisation's coins are, as the engine heard it from the signer. Watch reads the chain by it.
CREATE TABLE strongroom.wallet_addresses (
    organisation text NOT NULL REFERENCES strongroom.organisations,
    network text NOT NULL,
    generation integer NOT NULL,
    position integer NOT NULL,
    address text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (organisation, network, generation, position)
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
-- `is_asked`: the signer was asked to sign it and hasn't answered, so it may have been signed. `fee_posting` reserves
-- the fee. `due_at` is when it is worth trying again, `tries` how often it was in vain, `note` what was said then.
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
    is_asked boolean NOT NULL DEFAULT false,
    fee_posting bigint,
    due_at bigint NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    note text,
    signed_at bigint,
    broadcast_at bigint,
    settled_at bigint,
    updated_at bigint NOT NULL,
    CHECK (signed IS NOT NULL OR state IN ('planned', 'dropped'))
);
CREATE INDEX attempts_under_way ON strongroom.attempts (organisation, created_at)
    WHERE state NOT IN ('dropped', 'settled');
CREATE INDEX attempts_settled ON strongroom.attempts (updated_at) WHERE state = 'settled';
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
    conflicts_with text,
    created_at bigint NOT NULL
);
CREATE INDEX chain_reports_newest ON strongroom.chain_reports (chain_transaction, id);

-- What watch found when it held ledger, chain and attempts against each other, as of one block; a row when it changed.
-- Base units. `expected` is what the ledger says, less what was signed and stands in a block but isn't settled yet.
CREATE TABLE strongroom.reconciliations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL,
    network text NOT NULL,
    asset text NOT NULL,
    height bigint NOT NULL,
    block_hash text NOT NULL,
    chain numeric(78, 0) NOT NULL,
    ledger numeric(78, 0) NOT NULL,
    expected numeric(78, 0) NOT NULL,
    is_whole boolean NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX reconciliations_newest ON strongroom.reconciliations (organisation, asset, id);

-- Alarms that guard has taken from watch.
CREATE TABLE strongroom.alarms (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL,
    name text NOT NULL,
    detail text NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX alarms_of ON strongroom.alarms (organisation, name, id);

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
        'payout_moves', 'registrations', 'refusals', 'reservations', 'wallet_addresses', 'approval_requests',
        'approval_assertions', 'receipts', 'attempt_payouts', 'attempt_coins', 'chain_reports', 'reconciliations',
        'alarms'
    ] LOOP
        CALL strongroom.make_append_only(name);
    END LOOP;
END $$;

-- The signer knows these now; what waited for it is looked at again.
CREATE FUNCTION strongroom.engine_register(object text[], organisation text, at bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO registrations SELECT unnest(object), engine_register.organisation, at ON CONFLICT DO NOTHING;
    UPDATE payouts SET due_at = at WHERE organisation = engine_register.organisation
        AND state IN ('received', 'held') AND due_at > at
        AND (id = ANY (object) OR run = ANY (object) OR destination_digest = ANY (object));
END $$;

-- Who asks for a cancel isn't kept waiting until the payout is due.
CREATE FUNCTION strongroom.cancel_wakes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
BEGIN
    UPDATE payouts SET due_at = NEW.created_at WHERE (id = NEW.object OR run = NEW.object)
        AND state IN ('received', 'held', 'awaiting_approval', 'ready') AND due_at > NEW.created_at;
    RETURN NULL;
END $$;
CREATE TRIGGER wakes AFTER INSERT ON strongroom.cancel_requests
    FOR EACH ROW EXECUTE FUNCTION strongroom.cancel_wakes();

CREATE FUNCTION strongroom.engine_refuse(
    object text[], organisation text, rule text[], reason text[], tries integer[], due_at bigint[], at bigint
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO refusals (object, organisation, rule, reason, tries, due_at, created_at)
    SELECT each.object, engine_refuse.organisation, each.rule, each.reason, each.tries, each.due_at, at
    FROM unnest(object, rule, reason, tries, due_at) AS each (object, rule, reason, tries, due_at)
$$;

CREATE FUNCTION strongroom.engine_addresses(
    organisation text, network text, generation integer, first integer, address text[], at bigint
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO wallet_addresses
    SELECT engine_addresses.organisation, engine_addresses.network, engine_addresses.generation,
        first + each.ordinal::integer - 1, each.address, at
    FROM unnest(address) WITH ORDINALITY AS each (address, ordinal) ON CONFLICT DO NOTHING
$$;

-- The pending posting that holds a payout's money, null if none does.
CREATE FUNCTION strongroom.engine_posting(wanted text) RETURNS bigint LANGUAGE sql STABLE
SET search_path = strongroom, pg_temp AS $$
    SELECT held.posting FROM (
        SELECT posting FROM payouts WHERE id = wanted AND posting IS NOT NULL
        UNION ALL SELECT posting FROM reservations WHERE payout = wanted
    ) AS held WHERE NOT EXISTS (SELECT FROM ledger_postings done WHERE done.settles = held.posting)
    ORDER BY held.posting DESC LIMIT 1
$$;

-- Reserve for payouts that hold no money. Raises check_violation if the wallet hasn't enough for all of them.
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
        INSERT INTO reservations SELECT posting, id, at FROM wanted
    )
    INSERT INTO ledger_postings (id, kind, debit_account, credit_account, amount, entry, created_at)
        OVERRIDING SYSTEM VALUE SELECT posting, 'pending', debit, credit, amount, id, at FROM wanted;
END $$;

CREATE FUNCTION strongroom.engine_finish(payout text[], kind text, at bigint) RETURNS void LANGUAGE sql
SET search_path = strongroom, pg_temp AS $$
    INSERT INTO ledger_postings (kind, settles, debit_account, credit_account, amount, entry, created_at)
    SELECT engine_finish.kind, held.id, held.debit_account, held.credit_account, held.amount, held.entry, at
    FROM unnest(payout) AS wanted (id) JOIN ledger_postings held ON held.id = engine_posting(wanted.id)
$$;

-- Let go of the money of payouts that can't be paid now, for others that can. They reserve again when they are ready.
CREATE FUNCTION strongroom.engine_release(payout text[], at bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM payouts p WHERE p.id = ANY (payout) AND p.state NOT IN ('held', 'ready')) THEN
        RAISE EXCEPTION 'only what is held or ready can let go of its money' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM engine_finish(payout, 'void_pending', at);
END $$;

-- A reorg took back what was settled: a reversing entry, and the money is reserved again, in one step.
CREATE FUNCTION strongroom.engine_unsettle(payout text[], at bigint) RETURNS void LANGUAGE sql
SET search_path = strongroom, pg_temp AS $$
    WITH taken AS MATERIALIZED (
        SELECT p.id, p.amount, debit.id AS debit, credit.id AS credit, nextval('ledger_postings_id_seq') AS reversal,
            nextval('ledger_postings_id_seq') AS posting
        FROM payouts p
        JOIN ledger_accounts debit ON (debit.organisation, debit.account, debit.asset)
            = (p.organisation, 'payouts', p.asset)
        JOIN ledger_accounts credit ON (credit.organisation, credit.account, credit.asset)
            = (p.organisation, 'wallet:hot', p.asset)
        WHERE p.id = ANY (payout)
    ), noted AS (
        INSERT INTO reservations SELECT posting, id, at FROM taken
    )
    INSERT INTO ledger_postings (id, kind, debit_account, credit_account, amount, entry, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT reversal, 'posted', credit, debit, amount, id, at FROM taken
        UNION ALL SELECT posting, 'pending', debit, credit, amount, id, at FROM taken
$$;

-- Move payouts from one state to another, all of them or none, with an audit leaf and an outbox row for each.
CREATE FUNCTION strongroom.engine_move(
    payout text[], before text, after text, hold text, retry_at bigint, code text, source text, detail text, at bigint
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
        due_at = coalesce(engine_move.retry_at, engine_move.at), updated_at = engine_move.at,
        attempts = CASE WHEN engine_move.after = 'held' THEN attempts + 1
            WHEN engine_move.after = 'signed' THEN 0 ELSE attempts END,
        status_code = engine_move.code, status_source = engine_move.source, status_detail = engine_move.detail
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
    ELSIF before = 'settled' AND after IN ('confirmed', 'broadcast') THEN
        PERFORM engine_unsettle(payout, at);
    END IF;
    PERFORM audit_append(json_build_object(
        'after', after, 'at', at, 'before', before, 'detail', detail, 'hold', hold, 'id', id, 'reason', code,
        'source', source, 'type', 'strongroom/event/payout-moved/v1')::text) FROM unnest(payout) AS each (id);
    INSERT INTO outbox (organisation, topic, object, created_at)
        SELECT organisation, 'payout.' || engine_move.after, id, engine_move.at FROM payouts
        WHERE id = ANY (engine_move.payout);
END $$;

-- Payouts that stay where they are, to be looked at again later; a held one may say another reason than before.
CREATE FUNCTION strongroom.engine_wait(
    payout text[], due_at bigint, hold text, code text, source text, detail text, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM audit_append(json_build_object(
        'at', at, 'detail', detail, 'hold', hold, 'id', id, 'reason', code, 'source', source,
        'type', 'strongroom/event/payout-waits/v1')::text)
        FROM payouts WHERE id = ANY (payout) AND state = 'held' AND hold <> engine_wait.hold;
    UPDATE payouts SET due_at = engine_wait.due_at,
        retry_at = CASE WHEN state = 'held' THEN engine_wait.due_at ELSE retry_at END,
        attempts = CASE WHEN state = 'held' THEN attempts + 1 ELSE attempts END,
        hold = CASE WHEN state = 'held' THEN coalesce(engine_wait.hold, hold) ELSE hold END,
        status_code = coalesce(engine_wait.code, status_code),
        status_source = CASE WHEN engine_wait.code IS NULL THEN status_source ELSE engine_wait.source END,
        status_detail = CASE WHEN engine_wait.code IS NULL THEN status_detail ELSE engine_wait.detail END,
        updated_at = CASE WHEN state = 'held' AND hold IS DISTINCT FROM coalesce(engine_wait.hold, hold)
            THEN engine_wait.at ELSE updated_at END
        WHERE id = ANY (payout) AND state IN ('received', 'held', 'awaiting_approval', 'ready');
END $$;

-- What is to be said of payouts on their way, without a move.
CREATE FUNCTION strongroom.engine_note(payout text[], code text, source text, detail text, at bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM audit_append(json_build_object(
        'at', at, 'detail', detail, 'id', id, 'reason', code, 'source', source,
        'type', 'strongroom/event/payout-noted/v1')::text)
        FROM payouts WHERE id = ANY (payout) AND status_code IS DISTINCT FROM engine_note.code;
    UPDATE payouts SET status_code = engine_note.code, status_source = engine_note.source,
        status_detail = engine_note.detail, updated_at = engine_note.at
        WHERE id = ANY (payout) AND status_code IS DISTINCT FROM engine_note.code;
END $$;

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

-- A plan, with its fee reserved. Raises check_violation if the wallet hasn't enough for it.
CREATE FUNCTION strongroom.engine_plan(
    chain_transaction text, organisation text, network text, asset text, operation text, unsigned bytea, paths text,
    fee text, payout text[], outpoint text[], at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    INSERT INTO attempts (
        chain_transaction, organisation, network, asset, operation, unsigned, paths, fee, created_at, state, updated_at)
    VALUES (
        chain_transaction, organisation, network, asset, operation, unsigned, paths, fee::numeric, at, 'planned', at)
    ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
        SET state = 'planned', updated_at = excluded.updated_at, due_at = 0, tries = 0, note = NULL
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
    INSERT INTO ledger_accounts (organisation, account, asset)
        VALUES (engine_plan.organisation, 'fees', engine_plan.asset) ON CONFLICT DO NOTHING;
    PERFORM engine_fee(engine_plan.chain_transaction, at);
END $$;

-- Reserve the fee of an attempt.
CREATE FUNCTION strongroom.engine_fee(wanted text, at bigint) RETURNS void LANGUAGE plpgsql
SET search_path = strongroom, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
        SELECT 'pending', debit.id, credit.id, a.fee, 'fee:' || a.chain_transaction, at FROM attempts a
        JOIN ledger_accounts debit ON (debit.organisation, debit.account, debit.asset)
            = (a.organisation, 'fees', a.asset)
        JOIN ledger_accounts credit ON (credit.organisation, credit.account, credit.asset)
            = (a.organisation, 'wallet:hot', a.asset)
        WHERE a.chain_transaction = wanted AND a.fee > 0 RETURNING id INTO made;
    UPDATE attempts SET fee_posting = made WHERE chain_transaction = wanted;
END $$;

-- How far an attempt is; `signed` once, with the bytes. Its fee is posted when it is settled, given back when it is
-- dropped, and taken back and reserved again when a reorg undoes a settlement.
CREATE FUNCTION strongroom.engine_attempt(chain_transaction text, after text, signed bytea, at bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    old attempts;
BEGIN
    SELECT * INTO old FROM attempts a WHERE a.chain_transaction = engine_attempt.chain_transaction FOR UPDATE;
    IF NOT FOUND OR (old.state, after) NOT IN (
        ('planned', 'dropped'), ('planned', 'signed'), ('signed', 'broadcast'), ('broadcast', 'confirmed'),
        ('confirmed', 'broadcast'), ('confirmed', 'settled'), ('settled', 'confirmed'), ('settled', 'broadcast')
    ) THEN
        RAISE EXCEPTION 'the attempt % can''t become %', chain_transaction, after USING ERRCODE = 'check_violation';
    END IF;
    UPDATE attempts a SET state = after, signed = coalesce(a.signed, engine_attempt.signed), is_asked = false,
        due_at = at, tries = 0, note = NULL, updated_at = at,
        signed_at = CASE after WHEN 'signed' THEN at ELSE a.signed_at END,
        broadcast_at = CASE after WHEN 'broadcast' THEN coalesce(a.broadcast_at, at) ELSE a.broadcast_at END,
        settled_at = CASE after WHEN 'settled' THEN at END
        WHERE a.chain_transaction = engine_attempt.chain_transaction;
    IF after IN ('dropped', 'settled') THEN
        INSERT INTO ledger_postings (kind, settles, debit_account, credit_account, amount, entry, created_at)
            SELECT CASE after WHEN 'settled' THEN 'post_pending' ELSE 'void_pending' END, held.id, held.debit_account,
                held.credit_account, held.amount, held.entry, at
            FROM ledger_postings held WHERE held.id = old.fee_posting;
    ELSIF old.state = 'settled' THEN
        INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
            SELECT 'posted', held.credit_account, held.debit_account, held.amount, held.entry, at
            FROM ledger_postings held WHERE held.id = old.fee_posting;
        PERFORM engine_fee(old.chain_transaction, at);
    END IF;
END $$;

-- The signer is about to be asked for an attempt; whether it was before, without an answer.
CREATE FUNCTION strongroom.engine_asking(chain_transaction text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    before boolean;
BEGIN
    SELECT a.is_asked INTO STRICT before FROM attempts a
        WHERE a.chain_transaction = engine_asking.chain_transaction AND a.state = 'planned' FOR UPDATE;
    UPDATE attempts a SET is_asked = true WHERE a.chain_transaction = engine_asking.chain_transaction;
    RETURN before;
END $$;

-- An attempt stays as far as it is; it is tried again at `due_at`.
CREATE FUNCTION strongroom.engine_try_later(chain_transaction text, due_at bigint, note text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    UPDATE attempts a SET due_at = engine_try_later.due_at, tries = a.tries + 1, note = engine_try_later.note
    WHERE a.chain_transaction = engine_try_later.chain_transaction
$$;

-- What came to a wallet and isn't explained: it is the wallet's, and held apart, so that nobody can be promised it.
CREATE FUNCTION strongroom.watch_surplus(organisation text, asset text, amount text, entry text, at bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wallet bigint;
    suspense bigint;
BEGIN
    IF EXISTS (SELECT FROM ledger_postings p WHERE p.kind = 'posted' AND p.entry = watch_surplus.entry) THEN
        RETURN false;
    END IF;
    INSERT INTO ledger_accounts (organisation, account, asset)
        VALUES (watch_surplus.organisation, 'suspense', watch_surplus.asset) ON CONFLICT DO NOTHING;
    SELECT id INTO STRICT wallet FROM ledger_accounts a WHERE (a.organisation, a.account, a.asset)
        = (watch_surplus.organisation, 'wallet:hot', watch_surplus.asset);
    SELECT id INTO STRICT suspense FROM ledger_accounts a WHERE (a.organisation, a.account, a.asset)
        = (watch_surplus.organisation, 'suspense', watch_surplus.asset);
    INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at) VALUES
        ('posted', wallet, suspense, amount::numeric, entry, at),
        ('pending', suspense, wallet, amount::numeric, entry, at);
    PERFORM audit_append(json_build_object(
        'amount', amount, 'asset', asset, 'at', at, 'entry', entry, 'organisation', organisation,
        'type', 'strongroom/event/surplus-found/v1')::text);
    RETURN true;
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
            AND state IN ('held', 'awaiting_approval', 'ready', 'planned');
    END IF;
    RETURN added = 1;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA strongroom FROM PUBLIC;

GRANT SELECT ON
    strongroom.deployment, strongroom.organisations, strongroom.policies, strongroom.evidence, strongroom.beneficiaries,
    strongroom.destinations, strongroom.runs, strongroom.run_calls, strongroom.run_seals, strongroom.run_items,
    strongroom.payouts, strongroom.cancel_requests, strongroom.ledger_accounts, strongroom.registrations,
    strongroom.refusals, strongroom.wallet_addresses, strongroom.reservations, strongroom.approval_requests, strongroom.approval_assertions, strongroom.receipts,
    strongroom.attempts, strongroom.attempt_payouts, strongroom.attempt_coins, strongroom.chain_reports,
    strongroom.migrations
TO strongroom_engine;
GRANT EXECUTE ON FUNCTION
    strongroom.engine_register, strongroom.engine_refuse, strongroom.engine_addresses, strongroom.engine_reserve,
    strongroom.engine_release, strongroom.engine_move, strongroom.engine_wait, strongroom.engine_note,
    strongroom.engine_request, strongroom.engine_receipt, strongroom.engine_plan, strongroom.engine_asking,
    strongroom.engine_attempt, strongroom.engine_try_later
TO strongroom_engine;

GRANT SELECT ON strongroom.attempts, strongroom.chain_reports, strongroom.organisations, strongroom.ledger_accounts,
    strongroom.policies, strongroom.wallet_addresses, strongroom.reconciliations, strongroom.alarms TO strongroom_watch;
GRANT INSERT ON strongroom.chain_reports, strongroom.reconciliations, strongroom.alarms TO strongroom_watch;
GRANT EXECUTE ON FUNCTION strongroom.watch_surplus TO strongroom_watch;

GRANT SELECT ON
    strongroom.approval_requests, strongroom.approval_assertions, strongroom.receipts, strongroom.attempts,
    strongroom.attempt_payouts, strongroom.chain_reports, strongroom.rosters, strongroom.registrations
TO strongroom_api;
GRANT EXECUTE ON FUNCTION strongroom.approve TO strongroom_api;
