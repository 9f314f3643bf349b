-- Settling a posting looks for its reservation by the index, whatever the planner believed when the session began. As a
-- join, its plan made while the ledger was short read all of it for every settlement; what is fenced by OFFSET 0 can
-- only be run row by row. Nothing else of the function is changed.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE OR REPLACE FUNCTION strongroom.ledger_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp SET enable_seqscan = off AS $$
DECLARE
    wrong bigint;
BEGIN
    PERFORM 1 FROM ledger_accounts WHERE id IN (SELECT debit_account FROM added UNION SELECT credit_account FROM added)
        ORDER BY id FOR UPDATE;
    SELECT added.id INTO wrong
        FROM (SELECT debit_account, credit_account, min(id) AS id FROM added GROUP BY 1, 2) AS added
        LEFT JOIN ledger_accounts debit ON debit.id = added.debit_account
        LEFT JOIN ledger_accounts credit ON credit.id = added.credit_account
            AND credit.organisation = debit.organisation AND credit.asset = debit.asset
        WHERE credit.id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'posting %: its accounts are not of one organisation and asset', wrong
            USING ERRCODE = 'check_violation';
    END IF;
    SELECT added.id INTO wrong FROM added WHERE added.settles IS NOT NULL AND NOT EXISTS (
        SELECT FROM ledger_postings reserved
        WHERE reserved.id = added.settles AND reserved.kind = 'pending' AND reserved.amount = added.amount
        AND reserved.debit_account = added.debit_account AND reserved.credit_account = added.credit_account OFFSET 0)
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'posting %: no pending posting fits it', wrong USING ERRCODE = 'check_violation';
    END IF;
    WITH one_side AS (
        SELECT debit_account AS account, kind, amount AS debit, 0 AS credit FROM added
        UNION ALL SELECT credit_account, kind, 0, amount FROM added
    ), moved AS (
        SELECT account,
            sum(CASE kind WHEN 'pending' THEN debit WHEN 'posted' THEN 0 ELSE -debit END) AS debits_pending,
            sum(CASE WHEN kind IN ('posted', 'post_pending') THEN debit ELSE 0 END) AS debits_posted,
            sum(CASE kind WHEN 'pending' THEN credit WHEN 'posted' THEN 0 ELSE -credit END) AS credits_pending,
            sum(CASE WHEN kind IN ('posted', 'post_pending') THEN credit ELSE 0 END) AS credits_posted
        FROM one_side GROUP BY account
    )
    UPDATE ledger_accounts SET
        debits_pending = ledger_accounts.debits_pending + moved.debits_pending,
        debits_posted = ledger_accounts.debits_posted + moved.debits_posted,
        credits_pending = ledger_accounts.credits_pending + moved.credits_pending,
        credits_posted = ledger_accounts.credits_posted + moved.credits_posted
        FROM moved WHERE ledger_accounts.id = moved.account;
    RETURN NULL;
END $$;
