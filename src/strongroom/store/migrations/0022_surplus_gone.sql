-- What came, was final and held apart, and stands on the chain no more: a reorg took it back, so suspense has it no more.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- No more than suspense has, and than the wallet can spare with that let go. Whether it was anything.
CREATE FUNCTION strongroom.watch_surplus_gone(organisation text, asset text, amount text, entry text, at bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    suspense ledger_accounts;
    wallet ledger_accounts;
    gone numeric;
BEGIN
    SELECT * INTO suspense FROM ledger_accounts a WHERE (a.organisation, a.account, a.asset)
        = (watch_surplus_gone.organisation, 'suspense', watch_surplus_gone.asset);
    SELECT * INTO wallet FROM ledger_accounts a WHERE (a.organisation, a.account, a.asset)
        = (watch_surplus_gone.organisation, 'wallet:hot', watch_surplus_gone.asset);
    gone := least(watch_surplus_gone.amount::numeric, suspense.credits_posted - suspense.debits_posted,
        wallet.debits_posted - wallet.credits_posted - wallet.credits_pending + suspense.debits_pending);
    IF suspense.id IS NULL OR gone <= 0
        OR EXISTS (SELECT FROM ledger_postings p WHERE p.kind = 'posted' AND p.entry = watch_surplus_gone.entry) THEN
        RETURN false;
    END IF;
    INSERT INTO ledger_postings (kind, settles, debit_account, credit_account, amount, entry, created_at)
        SELECT 'void_pending', held.id, held.debit_account, held.credit_account, held.amount, held.entry, at
        FROM ledger_postings held WHERE held.kind = 'pending' AND held.debit_account = suspense.id
            AND NOT EXISTS (SELECT FROM ledger_postings done WHERE done.settles = held.id);
    INSERT INTO ledger_postings (kind, debit_account, credit_account, amount, entry, created_at)
        VALUES ('posted', suspense.id, wallet.id, gone, entry, at);
    PERFORM engine_hold_suspense(organisation, asset, at);
    PERFORM audit_append(json_build_object(
        'amount', gone::text, 'asset', asset, 'at', at, 'entry', entry, 'organisation', organisation,
        'type', 'strongroom/event/surplus-gone/v1')::text);
    RETURN true;
END $$;

REVOKE EXECUTE ON FUNCTION strongroom.watch_surplus_gone FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.watch_surplus_gone TO strongroom_watch;
