-- Double entry, append-only. A posting carries both its sides and one amount, so no entry is out of balance. The
-- balances are kept by a trigger and by nothing else: nobody is granted to write them.

CREATE TABLE strongroom.ledger_accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL REFERENCES strongroom.organisations,
    account text NOT NULL CHECK (account IN ('wallet:hot', 'company:funding', 'payouts')),
    asset text NOT NULL,
    debits_pending numeric(78, 0) NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    debits_posted numeric(78, 0) NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_pending numeric(78, 0) NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    credits_posted numeric(78, 0) NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    UNIQUE (organisation, account, asset),
    CONSTRAINT never_overdrawn CHECK (account <> 'wallet:hot' OR debits_posted >= credits_posted + credits_pending)
) WITH (fillfactor = 50);

CREATE TABLE strongroom.ledger_postings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('posted', 'pending', 'post_pending', 'void_pending')),
    settles bigint,
    debit_account bigint NOT NULL,
    credit_account bigint NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    entry text NOT NULL,
    created_at bigint NOT NULL,
    CHECK (debit_account <> credit_account),
    CHECK ((settles IS NOT NULL) = (kind IN ('post_pending', 'void_pending')))
);
CREATE UNIQUE INDEX ledger_settled_once ON strongroom.ledger_postings (settles) WHERE settles IS NOT NULL;
CALL strongroom.make_append_only('ledger_postings');

-- Checks what one row can't say (both accounts exist, are of one organisation and asset; what is settled was
-- pending with the same accounts and amount), then moves the balances. Accounts are locked in the order of ids.
CREATE FUNCTION strongroom.ledger_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
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
    SELECT added.id INTO wrong FROM added LEFT JOIN ledger_postings reserved
        ON reserved.id = added.settles AND reserved.kind = 'pending' AND reserved.amount = added.amount
        AND reserved.debit_account = added.debit_account AND reserved.credit_account = added.credit_account
        WHERE added.settles IS NOT NULL AND reserved.id IS NULL LIMIT 1;
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
CREATE TRIGGER apply AFTER INSERT ON strongroom.ledger_postings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION strongroom.ledger_apply();
CREATE TRIGGER never_gone BEFORE DELETE OR TRUNCATE ON strongroom.ledger_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION strongroom.refuse_change();
