-- A chain transaction of coins may have a successor, which spends the same coins and pays the same payouts for a higher
-- fee. One of the two is mined, and the other never will be. Payouts move with the one that is.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE strongroom.attempts DROP CONSTRAINT attempts_batch_has_nonce;
ALTER TABLE strongroom.attempts ADD CONSTRAINT attempts_batch_has_nonce CHECK (nonce IS NOT NULL OR batch IS NULL);
CREATE INDEX attempts_bumped ON strongroom.attempts (replaces) WHERE replaces IS NOT NULL;

-- Plan a successor of what was sent, with its fee reserved beside the other's. Its payouts stay where they are.
CREATE FUNCTION strongroom.engine_bump(
    chain_transaction text, unsigned bytea, paths text, fee text, replaces text, at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
DECLARE
    old attempts;
BEGIN
    SELECT * INTO old FROM attempts a WHERE a.chain_transaction = engine_bump.replaces FOR UPDATE;
    IF NOT FOUND OR old.state <> 'broadcast' OR old.operation NOT IN ('pay', 'bump') OR old.nonce IS NOT NULL
        OR fee::numeric <= old.fee OR EXISTS (SELECT FROM attempts o WHERE o.replaces = old.chain_transaction
            AND o.state <> 'dropped' AND o.chain_transaction <> engine_bump.chain_transaction)
    THEN
        RAISE EXCEPTION '% can''t be replaced', replaces USING ERRCODE = 'check_violation';
    END IF;
    PERFORM engine_plan(chain_transaction, old.organisation, old.network, old.asset, 'bump', unsigned, paths, fee,
        (SELECT array_agg(p.payout ORDER BY p.position) FROM attempt_payouts p
            WHERE p.chain_transaction = old.chain_transaction),
        (SELECT array_agg(c.outpoint) FROM attempt_coins c WHERE c.chain_transaction = old.chain_transaction), at);
    UPDATE attempts a SET replaces = engine_bump.replaces WHERE a.chain_transaction = engine_bump.chain_transaction;
END $$;

-- As before; and what was signed may be dropped when another that pays the same payouts with one of its coins is settled.
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
    ) AND NOT EXISTS (
        SELECT FROM attempt_coins mine JOIN attempt_coins other USING (outpoint)
        JOIN attempts o ON o.chain_transaction = other.chain_transaction
        WHERE mine.chain_transaction = old.chain_transaction AND o.chain_transaction <> old.chain_transaction
            AND o.state = 'settled' AND NOT EXISTS (
                SELECT FROM attempt_payouts m WHERE m.chain_transaction = old.chain_transaction AND NOT EXISTS (
                    SELECT FROM attempt_payouts n WHERE n.chain_transaction = o.chain_transaction AND n.payout = m.payout))
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
            FROM ledger_postings held WHERE held.id IN (old.fee_posting, old.swept_posting);
        IF after = 'dropped' AND old.operation = 'sweep' THEN
            PERFORM engine_hold_suspense(old.organisation, old.asset, at);
        END IF;
    ELSIF old.state = 'settled' THEN
        INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
            SELECT 'posted', held.credit_account, held.debit_account, held.amount, held.entry, at
            FROM ledger_postings held WHERE held.id IN (old.fee_posting, old.swept_posting);
        PERFORM engine_fee(old.chain_transaction, at);
        PERFORM engine_swept(old.chain_transaction, at);
    END IF;
END $$;

REVOKE EXECUTE ON FUNCTION strongroom.engine_bump FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.engine_bump TO strongroom_engine;
