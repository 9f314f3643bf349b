-- Fills a database with payouts that were taken before, one a few seconds for thirty days: rows as intake writes them.
-- The ledger's trigger is off while they are written; what it would have added is added at the end. Indexes are dropped
-- and made again, as they are faster made at once. Placeholders in braces are replaced by benchmarks/stored.py.

ALTER TABLE strongroom.ledger_postings DISABLE TRIGGER apply;
CREATE TEMP TABLE made AS
SELECT
    number, 'po_' || translate(left(md5(number::text), 26), '0189', 'wxyz') AS id,
    'trip-' || md5(number::text) || '-000000' AS key, 'trip-' || left(md5(number::text), 16) || '-000000' AS debt,
    1000000 + number * 7919 % 99000000 AS amount, payees.beneficiary, payees.digest,
    {now} - 2592000000 + number * 2592000000 / {count} AS at
FROM generate_series(1, {count}::bigint) AS number
JOIN (SELECT beneficiary, digest, row_number() OVER (ORDER BY digest) AS place FROM strongroom.destinations) AS payees
    ON payees.place = 1 + number % {payees};

INSERT INTO strongroom.evidence
SELECT 1000000 + number, '{organisation}', '{client}', '{key_id}', 'POST', '/v1/payouts', '{authority}', key, '\x{base}',
    decode(repeat('00', 64), 'hex'), '\x{body}', at
FROM made ORDER BY number;

INSERT INTO strongroom.audit_leaves (id, leaf) OVERRIDING SYSTEM VALUE
SELECT 1000000 + number, '{"event":{"amount":"' || amount || '","asset":"{asset}","at":' || at || ',"beneficiary":"'
    || beneficiary || '","client":"{client}","destination_digest":"' || digest || '","hold":null,"id":"' || id
    || '","organisation":"{organisation}","run":null,"signed_sha256":"' || repeat(md5(key), 2)
    || '","type":"strongroom/event/payout-recorded/v1"},"role":"strongroom_api"}'
FROM made ORDER BY number;

INSERT INTO strongroom.outbox (organisation, topic, object, created_at)
SELECT '{organisation}', 'payout.created', id, at FROM made ORDER BY number;

INSERT INTO strongroom.ledger_postings (id, kind, debit_account, credit_account, amount, entry, created_at)
OVERRIDING SYSTEM VALUE
SELECT 1000000 + number, 'pending', {debit}, {credit}, amount, id, at FROM made ORDER BY number;
UPDATE strongroom.ledger_accounts SET debits_pending = debits_pending + (SELECT sum(amount) FROM made) WHERE id = {debit};
UPDATE strongroom.ledger_accounts SET credits_pending = credits_pending + (SELECT sum(amount) FROM made)
    WHERE id = {credit};

CREATE TEMP TABLE indexes AS
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'strongroom' AND tablename = 'payouts' AND indexname <> 'payouts_pkey';
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT indexname FROM indexes LOOP
        EXECUTE format('DROP INDEX strongroom.%I', name);
    END LOOP;
END $$;
INSERT INTO strongroom.payouts (
    id, organisation, client, key_id, idempotency_key, evidence, leaf, beneficiary, destination_digest, asset, amount,
    reference_minor, external_id, approvals, approval_groups, counted, posting, created_at, state, due_at, updated_at)
SELECT
    id, '{organisation}', '{client}', '{key_id}', key, 1000000 + number, 1000000 + number, beneficiary, digest, '{asset}',
    amount, amount / 10000 + 1, debt, 0, 0, true, 1000000 + number, at, 'received', at, at
FROM made ORDER BY id;
DO $$
DECLARE definition text;
BEGIN
    FOR definition IN SELECT indexdef FROM indexes LOOP
        EXECUTE definition;
    END LOOP;
END $$;
ALTER TABLE strongroom.ledger_postings ENABLE TRIGGER apply;
SELECT setval('strongroom.audit_leaves_id_seq', 1000001 + {count});
SELECT setval('strongroom.ledger_postings_id_seq', 1000001 + {count});
DROP TABLE made, indexes;
