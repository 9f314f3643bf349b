-- The opponent: one payout, one database transaction, by the plainest statements that write the same rows as intake
-- does. It is made as fast as one can without batching: one round trip, one prepared statement, constants sent once,
-- and the posting, which locks the hot account until the commit is on disk, comes last.
--
-- It is spared what intake does besides: verifying and parsing (the request is a constant of the right size), the
-- limits' windows (intake keeps them in memory, a program without a single writer would have to keep counters in rows),
-- and the answer.

CREATE SCHEMA bench;
CREATE SEQUENCE bench.evidence_numbers START 1000000000 CACHE 32;

CREATE TABLE bench.payees (number integer PRIMARY KEY, beneficiary text NOT NULL, digest text NOT NULL);

CREATE FUNCTION bench.pay(
    number bigint, payee integer, minor integer, at bigint, its_organisation text, its_client text, its_key text,
    its_asset text, its_debit bigint, its_credit bigint, its_authority text, its_base bytea, its_body bytea
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    name constant text := md5(number::text);
    payout constant text := 'po_' || translate(left(name, 26), '0189', 'wxyz');
    key constant text := 'trip-' || name || '-000000';
    debt constant text := 'trip-' || left(name, 16) || '-000000';
    evidence_id constant bigint := nextval('bench.evidence_numbers');
    posting_id constant bigint := nextval('strongroom.ledger_postings_id_seq');
    paid strongroom.destinations;
    to_whom bench.payees;
    leaf_id bigint;
BEGIN
    SELECT * INTO to_whom FROM bench.payees WHERE payees.number = payee;
    SELECT * INTO paid FROM strongroom.destinations WHERE digest = to_whom.digest;
    IF paid.beneficiary <> to_whom.beneficiary OR paid.organisation <> its_organisation OR paid.cooling_until > at THEN
        RAISE EXCEPTION 'the destination can''t be paid';
    END IF;
    IF EXISTS (SELECT FROM strongroom.key_revocations WHERE key_id = its_key) THEN
        RAISE EXCEPTION 'the key is revoked';
    END IF;
    IF (SELECT frozen FROM strongroom.freezes WHERE organisation = its_organisation ORDER BY epoch DESC LIMIT 1) THEN
        RAISE EXCEPTION 'frozen';
    END IF;
    IF EXISTS (SELECT FROM strongroom.payouts WHERE client = its_client AND external_id = debt) THEN
        RAISE EXCEPTION 'the debt was paid before';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(7163829165);  -- so that the audit log can be put in order
    INSERT INTO strongroom.evidence VALUES (
        evidence_id, its_organisation, its_client, its_key, 'POST', '/v1/payouts', its_authority, key, its_base,
        decode(repeat('00', 64), 'hex'),
        its_body, at);
    INSERT INTO strongroom.audit_leaves (leaf) VALUES (
        '{"event":{"amount":"' || minor || '","asset":"' || its_asset || '","at":' || at || ',"beneficiary":"'
        || to_whom.beneficiary || '","client":"' || its_client || '","destination_digest":"' || to_whom.digest
        || '","hold":null,"id":"' || payout || '","organisation":"' || its_organisation || '","run":null,"signed_sha256":"'
        || name || name || '","type":"strongroom/event/payout-recorded/v1"},"role":"' || session_user || '"}'
    ) RETURNING id INTO leaf_id;
    INSERT INTO strongroom.payouts (
        id, organisation, client, key_id, idempotency_key, evidence, leaf, beneficiary, destination_digest, asset, amount,
        reference_minor, external_id, approvals, approval_groups, counted, posting, created_at, state, due_at, updated_at)
    VALUES (
        payout, its_organisation, its_client, its_key, key, evidence_id, leaf_id, to_whom.beneficiary, to_whom.digest,
        its_asset, minor, minor / 10000 + 1, debt, 0, 0, true, posting_id, at, 'received', at, at);
    INSERT INTO strongroom.outbox (organisation, topic, object, created_at)
        VALUES (its_organisation, 'payout.created', payout, at);
    INSERT INTO strongroom.ledger_postings (id, kind, debit_account, credit_account, amount, entry, created_at)
        OVERRIDING SYSTEM VALUE VALUES (posting_id, 'pending', its_debit, its_credit, minor, payout, at);
    UPDATE strongroom.ledger_accounts SET debits_pending = debits_pending + minor WHERE id = its_debit;
    UPDATE strongroom.ledger_accounts SET credits_pending = credits_pending + minor WHERE id = its_credit;
    RETURN payout;
END $$;

-- The ledger's own trigger is made for many postings in one statement, and dear for one: the opponent moves the two
-- balances itself. The constraint that no wallet is overdrawn holds for both.
ALTER TABLE strongroom.ledger_postings DISABLE TRIGGER apply;

GRANT USAGE ON SCHEMA bench TO strongroom_api;
GRANT EXECUTE ON FUNCTION bench.pay TO strongroom_api;
