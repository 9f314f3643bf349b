-- Attempts on chains of accounts: calls of a vault. What is paid is a batch, which the vault executes once or never; many
-- attempts may carry one batch. So an attempt moves as its chain transaction does, and its payouts as the vault says.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- `batch` is what the call pays, null where it only kills, and on chains of coins; `nonce` is the account's, null for
-- coins. `replaces` is the attempt whose batch is sent again. `fee` is the most that it may cost, `fee_paid` what it did.
-- `reverted`: in a final block, where it did nothing but cost.
ALTER TABLE strongroom.attempts
    ADD COLUMN batch text CHECK (batch ~ '^[0-9a-f]{64}$'), ADD COLUMN nonce bigint CHECK (nonce >= 0),
    ADD COLUMN replaces text REFERENCES strongroom.attempts, ADD COLUMN fee_paid numeric(78, 0) CHECK (fee_paid >= 0),
    ADD CONSTRAINT attempts_batch_has_nonce CHECK (nonce IS NOT NULL OR (batch IS NULL AND replaces IS NULL));
ALTER TABLE strongroom.attempts DROP CONSTRAINT attempts_state_check;
ALTER TABLE strongroom.attempts ADD CONSTRAINT attempts_state_check CHECK (
    state IN ('planned', 'dropped', 'signed', 'broadcast', 'confirmed', 'settled', 'reverted')) NOT VALID;
CREATE INDEX attempts_of_batch ON strongroom.attempts (network, batch) WHERE batch IS NOT NULL;
CREATE INDEX attempts_of_nonce ON strongroom.attempts (organisation, network, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX batch_reports_unpaid ON strongroom.batch_reports (created_at) WHERE fate <> 'paid';

-- What a vault skipped waits, and is planned again.
INSERT INTO strongroom.payout_moves VALUES ('broadcast', 'held');

CREATE OR REPLACE FUNCTION strongroom.attempts_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.chain_transaction, OLD.organisation, OLD.network, OLD.asset, OLD.operation, OLD.unsigned, OLD.paths, OLD.fee)
       IS DISTINCT FROM
       (NEW.chain_transaction, NEW.organisation, NEW.network, NEW.asset, NEW.operation, NEW.unsigned, NEW.paths, NEW.fee)
       OR (OLD.signed IS NOT NULL AND (OLD.signed, OLD.batch, OLD.nonce, OLD.replaces) IS DISTINCT FROM
           (NEW.signed, NEW.batch, NEW.nonce, NEW.replaces))
    THEN
        RAISE EXCEPTION 'what was planned or signed as % can''t be changed', OLD.chain_transaction
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

-- Whether a payout was signed, or may have been, to be paid by a vault: what is said of its batch, says what it is.
CREATE FUNCTION strongroom.engine_is_vaults(wanted text) RETURNS boolean LANGUAGE sql STABLE
SET search_path = strongroom, pg_temp AS $$
    SELECT EXISTS (SELECT FROM attempt_payouts m JOIN attempts a USING (chain_transaction)
        WHERE m.payout = wanted AND a.batch IS NOT NULL AND (a.signed IS NOT NULL OR a.is_asked))
$$;

-- As before; but only what is a vault's goes from `broadcast` back to `held`, and a run's receipt says nothing of it.
CREATE OR REPLACE FUNCTION strongroom.engine_move(
    payout text[], before text, after text, hold text, retry_at bigint, code text, source text, detail text, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    moved integer;
BEGIN
    IF NOT EXISTS (SELECT FROM payout_moves WHERE before = engine_move.before AND after = engine_move.after)
        OR (engine_move.before = 'broadcast' AND engine_move.after = 'held' AND EXISTS (
            SELECT FROM unnest(engine_move.payout) AS each (id) WHERE NOT engine_is_vaults(each.id)))
    THEN
        RAISE EXCEPTION 'a payout can''t go from % to %', before, after USING ERRCODE = 'check_violation';
    END IF;
    IF after IN ('declined', 'cancelled', 'expired', 'failed') AND EXISTS (
        SELECT FROM payouts p WHERE p.id = ANY (engine_move.payout)
            AND NOT EXISTS (SELECT FROM receipts r WHERE r.object = p.id
                OR (r.object = p.run AND engine_move.before NOT IN ('planned', 'signed', 'broadcast', 'confirmed')
                    AND NOT engine_is_vaults(p.id)))
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

-- As before; but what a vault may pay keeps its money.
CREATE OR REPLACE FUNCTION strongroom.engine_release(payout text[], at bigint) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM payouts p WHERE p.id = ANY (payout)
        AND (p.state NOT IN ('held', 'ready') OR engine_is_vaults(p.id))) THEN
        RAISE EXCEPTION 'only what is held or ready, and wasn''t signed, can let go of its money'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM engine_finish(payout, 'void_pending', at);
END $$;

-- Plan a call of a vault, with the most that it may cost reserved. Raises check_violation if the account hasn't enough.
CREATE FUNCTION strongroom.engine_plan_call(
    chain_transaction text, organisation text, network text, asset text, operation text, unsigned bytea, paths text,
    fee text, payout text[], batch text, nonce bigint, replaces text, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    PERFORM engine_plan(chain_transaction, organisation, network, asset, operation, unsigned, paths, fee, payout, '{}',
        at);
    UPDATE attempts a SET batch = engine_plan_call.batch, nonce = engine_plan_call.nonce,
        replaces = engine_plan_call.replaces WHERE a.chain_transaction = engine_plan_call.chain_transaction;
    IF EXISTS (SELECT FROM attempts a WHERE a.chain_transaction = engine_plan_call.chain_transaction
        AND a.fee > 0 AND a.fee_posting IS NULL) THEN
        RAISE EXCEPTION '% has no account for %', organisation, asset
            USING ERRCODE = 'check_violation', CONSTRAINT = 'never_overdrawn';
    END IF;
END $$;

-- How a call of a vault ends, whatever became of its payouts. In a final block, `settled` or `reverted`: what it cost is
-- posted, and the rest of what was reserved let go. `dropped`: its nonce is used by another, so it costs nothing. Back to
-- `broadcast`, when a reorg took that away: what was posted is reversed, and reserved again.
CREATE FUNCTION strongroom.engine_end_call(chain_transaction text, after text, fee_paid text, at bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    old attempts;
BEGIN
    SELECT * INTO old FROM attempts a WHERE a.chain_transaction = engine_end_call.chain_transaction FOR UPDATE;
    IF NOT FOUND OR old.nonce IS NULL OR (old.state, after) NOT IN (
        ('confirmed', 'settled'), ('broadcast', 'reverted'), ('signed', 'dropped'), ('broadcast', 'dropped'),
        ('settled', 'broadcast'), ('reverted', 'broadcast')
    ) OR (after = 'dropped') <> (fee_paid IS NULL AND after <> 'broadcast') OR (after = 'dropped' AND NOT EXISTS (
        SELECT FROM attempts o WHERE (o.organisation, o.network, o.nonce) = (old.organisation, old.network, old.nonce)
            AND o.state IN ('settled', 'reverted')
    ) AND NOT EXISTS (
        SELECT FROM (SELECT r.status, r.is_final FROM chain_reports r WHERE r.chain_transaction = old.chain_transaction
            ORDER BY r.id DESC LIMIT 1) AS newest WHERE newest.status = 'replaced' AND newest.is_final
    )) THEN
        RAISE EXCEPTION 'the attempt % can''t become %', chain_transaction, after USING ERRCODE = 'check_violation';
    END IF;
    IF fee_paid::numeric > old.fee THEN
        RAISE EXCEPTION '% can''t have cost %', chain_transaction, fee_paid USING ERRCODE = 'check_violation';
    END IF;
    UPDATE attempts a SET state = after, is_asked = false, due_at = at, tries = 0, note = NULL, updated_at = at,
        fee_paid = engine_end_call.fee_paid::numeric, settled_at = CASE after WHEN 'settled' THEN at END
        WHERE a.chain_transaction = engine_end_call.chain_transaction;
    IF after = 'broadcast' THEN
        INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
            SELECT 'posted', held.credit_account, held.debit_account, old.fee_paid, held.entry, at
            FROM ledger_postings held WHERE held.id = old.fee_posting AND old.fee_paid > 0;
        PERFORM engine_fee(old.chain_transaction, at);
        RETURN;
    END IF;
    INSERT INTO ledger_postings (kind, settles, debit_account, credit_account, amount, entry, created_at)
        SELECT 'void_pending', held.id, held.debit_account, held.credit_account, held.amount, held.entry, at
        FROM ledger_postings held WHERE held.id = old.fee_posting;
    INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
        SELECT 'posted', held.debit_account, held.credit_account, fee_paid::numeric, held.entry, at
        FROM ledger_postings held WHERE held.id = old.fee_posting AND fee_paid::numeric > 0;
END $$;

REVOKE EXECUTE ON FUNCTION strongroom.engine_is_vaults, strongroom.engine_plan_call, strongroom.engine_end_call
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.engine_plan_call, strongroom.engine_end_call TO strongroom_engine;
