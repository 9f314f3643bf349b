-- What was signed and will never be paid: its payouts fail only with the signer's own word about each of them, its void
-- proof, and its attempt is dropped, with its fee, when all of them have.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- As before, but: of what may have been signed, the receipt of its run says nothing; it needs one of its own.
-- Move payouts from one state to another, all of them or none, with an audit leaf and an outbox row for each.
CREATE OR REPLACE FUNCTION strongroom.engine_move(
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
            AND NOT EXISTS (SELECT FROM receipts r WHERE r.object = p.id
                OR (r.object = p.run AND engine_move.before NOT IN ('planned', 'signed', 'broadcast', 'confirmed')))
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

-- How far an attempt is; `signed` once, with the bytes. Its fee is posted when it is settled, given back when it is
-- dropped, and taken back and reserved again when a reorg undoes a settlement. What was signed is dropped only when all
-- that it would have paid has ended.
CREATE OR REPLACE FUNCTION strongroom.engine_attempt(chain_transaction text, after text, signed bytea, at bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    old attempts;
BEGIN
    SELECT * INTO old FROM attempts a WHERE a.chain_transaction = engine_attempt.chain_transaction FOR UPDATE;
    IF NOT FOUND OR (old.state, after) NOT IN (
        ('planned', 'dropped'), ('planned', 'signed'), ('signed', 'broadcast'), ('broadcast', 'confirmed'),
        ('confirmed', 'broadcast'), ('confirmed', 'settled'), ('settled', 'confirmed'), ('settled', 'broadcast'),
        ('signed', 'dropped'), ('broadcast', 'dropped')
    ) OR (after = 'dropped' AND old.signed IS NOT NULL AND EXISTS (
        SELECT FROM attempt_payouts m JOIN payouts p ON p.id = m.payout
        WHERE m.chain_transaction = old.chain_transaction AND p.state <> 'failed'
    )) THEN
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
