-- A sweep: what a hot wallet holds goes to the policy's treasury, and back to the company's funding in the ledger. It
-- must be possible whatever was promised to whom: what isn't signed yet lets go of its money, and so does suspense.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE strongroom.attempts ADD COLUMN swept numeric(78, 0) NOT NULL DEFAULT 0 CHECK (swept >= 0),
    ADD COLUMN swept_posting bigint;

-- Plan a sweep, with its fee and what it takes reserved. Payouts that aren't signed yet reserve again when they are
-- looked at, and wait for funds if there are none. Raises check_violation if the wallet hasn't enough for its fee.
CREATE FUNCTION strongroom.engine_sweep(
    chain_transaction text, organisation text, network text, asset text, unsigned bytea, paths text, fee text,
    swept text, outpoint text[], at bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
DECLARE
    waiting text[];
BEGIN
    SELECT array_agg(p.id) INTO waiting FROM payouts p WHERE p.organisation = engine_sweep.organisation
        AND p.asset = engine_sweep.asset AND p.state = 'ready';
    IF waiting IS NOT NULL THEN
        PERFORM engine_move(waiting, 'ready', 'held', 'funds', at + 5000, 'no_funds', 'engine',
            'the wallet is being swept', at);
    END IF;
    SELECT coalesce(array_agg(p.id), '{}') INTO waiting FROM payouts p
        WHERE p.organisation = engine_sweep.organisation AND p.asset = engine_sweep.asset
        AND p.state IN ('received', 'held', 'awaiting_approval');
    PERFORM engine_finish(waiting, 'void_pending', at);
    INSERT INTO ledger_postings (kind, settles, debit_account, credit_account, amount, entry, created_at)
        SELECT 'void_pending', held.id, held.debit_account, held.credit_account, held.amount, held.entry, at
        FROM ledger_postings held JOIN ledger_accounts suspense ON suspense.id = held.debit_account
        WHERE held.kind = 'pending' AND suspense.account = 'suspense'
            AND (suspense.organisation, suspense.asset) = (engine_sweep.organisation, engine_sweep.asset)
            AND NOT EXISTS (SELECT FROM ledger_postings done WHERE done.settles = held.id);
    PERFORM engine_plan(chain_transaction, organisation, network, asset, 'sweep', unsigned, paths, fee, '{}', outpoint,
        at);
    UPDATE attempts a SET swept = engine_sweep.swept::numeric
        WHERE a.chain_transaction = engine_sweep.chain_transaction;
    PERFORM engine_swept(chain_transaction, at);
    PERFORM audit_append(json_build_object(
        'amount', swept, 'asset', asset, 'at', at, 'chain_transaction', chain_transaction,
        'organisation', organisation, 'type', 'strongroom/event/sweep-planned/v1')::text);
END $$;

-- Reserve what a sweep takes, or as much of it as the ledger knows of: the chain decides what is swept.
CREATE FUNCTION strongroom.engine_swept(wanted text, at bigint) RETURNS void LANGUAGE plpgsql
SET search_path = strongroom, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
        SELECT 'pending', debit.id, credit.id,
            least(a.swept, credit.debits_posted - credit.credits_posted - credit.credits_pending),
            'sweep:' || a.chain_transaction, at FROM attempts a
        JOIN ledger_accounts debit ON (debit.organisation, debit.account, debit.asset)
            = (a.organisation, 'company:funding', a.asset)
        JOIN ledger_accounts credit ON (credit.organisation, credit.account, credit.asset)
            = (a.organisation, 'wallet:hot', a.asset)
        WHERE a.chain_transaction = wanted
            AND least(a.swept, credit.debits_posted - credit.credits_posted - credit.credits_pending) > 0
        RETURNING id INTO made;
    UPDATE attempts SET swept_posting = made WHERE chain_transaction = wanted;
END $$;

-- What a sweep that was dropped had let go of in suspense is held there again.
CREATE FUNCTION strongroom.engine_hold_suspense(organisation text, asset text, at bigint) RETURNS void
LANGUAGE sql SET search_path = strongroom, pg_temp AS $$
    INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
        SELECT 'pending', found.suspense, found.wallet, found.amount, 'suspense', at FROM (
            SELECT suspense.id AS suspense, wallet.id AS wallet, least(
                suspense.credits_posted - suspense.debits_posted - suspense.debits_pending,
                wallet.debits_posted - wallet.credits_posted - wallet.credits_pending) AS amount
            FROM ledger_accounts suspense JOIN ledger_accounts wallet
                ON (wallet.organisation, wallet.asset) = (suspense.organisation, suspense.asset)
            WHERE suspense.account = 'suspense' AND wallet.account = 'wallet:hot'
                AND (suspense.organisation, suspense.asset)
                    = (engine_hold_suspense.organisation, engine_hold_suspense.asset)
        ) AS found WHERE found.amount > 0
$$;

-- As before; and what a sweep takes goes the way of its fee.
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

REVOKE EXECUTE ON FUNCTION strongroom.engine_sweep, strongroom.engine_swept, strongroom.engine_hold_suspense
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.engine_sweep TO strongroom_engine;
