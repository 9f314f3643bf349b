-- The duplicate check of intake's lookup, made to reach payouts by their index for every asked row. As a plain join its
-- plan, made when the table was small, read all of a client's payouts for each batch: the cost of a payout grew with
-- how many were stored. What is fenced by OFFSET 0 can only be run row by row.

CREATE OR REPLACE FUNCTION strongroom.intake_lookup(
    payout text[], client text[], external_id text[], beneficiary text[], digest text[], key_id text[],
    organisation text[],
    OUT recorded text[], OUT again bigint[], OUT again_payout text[], OUT revoked text[], OUT frozen text[],
    OUT wallet bigint[], OUT wallet_organisation text[], OUT wallet_asset text[], OUT wallet_available text[]
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = strongroom, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    SELECT array_agg(payouts.id) INTO recorded FROM payouts WHERE payouts.id = ANY (intake_lookup.payout);
    SELECT array_agg(found.ordinal), array_agg(found.id) INTO again, again_payout FROM (
        SELECT DISTINCT ON (asked.ordinal) asked.ordinal, earlier.id
        FROM unnest(client, external_id, beneficiary, digest) WITH ORDINALITY
            AS asked (client, external_id, beneficiary, digest, ordinal)
        CROSS JOIN LATERAL (
            SELECT payouts.id, payouts.leaf, payouts.beneficiary, payouts.destination_digest FROM payouts
            WHERE payouts.client = asked.client AND payouts.external_id = asked.external_id OFFSET 0) earlier
        CROSS JOIN LATERAL (
            SELECT network, address FROM destinations WHERE digest = earlier.destination_digest OFFSET 0) paid
        LEFT JOIN LATERAL (
            SELECT network, address FROM destinations WHERE digest = asked.digest OFFSET 0) destination ON true
        WHERE earlier.beneficiary = asked.beneficiary
            OR (paid.network, paid.address) = (destination.network, destination.address)
        ORDER BY asked.ordinal, earlier.leaf DESC) found;
    SELECT array_agg(key_revocations.key_id) INTO revoked FROM key_revocations
        WHERE key_revocations.key_id = ANY (intake_lookup.key_id);
    SELECT array_agg(newest.organisation) INTO frozen FROM (
        SELECT DISTINCT ON (freezes.organisation) freezes.organisation, freezes.frozen FROM freezes
        WHERE freezes.organisation = ANY (intake_lookup.organisation)
        ORDER BY freezes.organisation, freezes.epoch DESC) newest WHERE newest.frozen;
    SELECT array_agg(id), array_agg(ledger_accounts.organisation), array_agg(asset),
        array_agg((debits_posted - credits_posted - credits_pending)::text)
        INTO wallet, wallet_organisation, wallet_asset, wallet_available FROM ledger_accounts
        WHERE ledger_accounts.organisation = ANY (intake_lookup.organisation) AND account = 'wallet:hot';
END $$;
