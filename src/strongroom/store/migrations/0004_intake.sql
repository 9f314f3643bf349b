-- What the API may write, and all that it may write: these functions. Its role holds no grant to change a table.
--
-- One writer decides in memory (limits, funds, duplicates) and records by these functions; a second one, or one that
-- was given up for dead, is refused by its epoch. Whoever records holds the fence shared until its transaction
-- ends, whoever takes over holds it alone for an instant: nothing of an older epoch can commit after that.

CREATE FUNCTION strongroom.intake_lock() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 7163829166';

CREATE FUNCTION strongroom.intake_begin(at bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(intake_lock());
    INSERT INTO intake_epochs (taken_at) VALUES (at) RETURNING epoch INTO made;
    RETURN made;
END $$;

CREATE FUNCTION strongroom.intake_enter(mine bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = strongroom, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(intake_lock());
    IF mine <> (SELECT epoch FROM intake_epochs ORDER BY epoch DESC LIMIT 1) THEN
        RAISE EXCEPTION 'another intake writer took over from epoch %', mine USING ERRCODE = 'SR001';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(audit_lock());
END $$;

-- What a decision about a batch needs to know beyond what the writer remembers, as one row of lists. Every table is
-- reached by an index, whatever the planner believes of its size: a plan made for an empty table would read the full
-- one. `again` lists asked rows (from 1) whose external id was paid to this beneficiary or address, with the last
-- payout that was.
CREATE FUNCTION strongroom.intake_lookup(
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
        JOIN payouts earlier ON earlier.client = asked.client AND earlier.external_id = asked.external_id
        JOIN destinations paid ON paid.digest = earlier.destination_digest
        LEFT JOIN destinations destination ON destination.digest = asked.digest
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

-- Requests as they came, one row each.
CREATE FUNCTION strongroom.intake_evidence(
    id bigint[], organisation text[], client text[], key_id text[], method text[], path text[], authority text[],
    idempotency_key text[], signature_base bytea[], signature bytea[], body bytea[], received_at bigint[]
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO evidence SELECT * FROM unnest(
        id, organisation, client, key_id, method, path, authority, idempotency_key, signature_base, signature, body,
        received_at)
$$;

-- Payouts with reservation, audit leaf and outbox row. `debit` and `credit` are the accounts of a reservation.
CREATE FUNCTION strongroom.intake_payouts(
    id text[], organisation text[], client text[], key_id text[], idempotency_key text[], evidence bigint[],
    run text[], run_index integer[], item bytea[], beneficiary text[], destination_digest text[], asset text[],
    amount text[], reference_minor text[], external_id text[], remittance_information text[], activities text[],
    not_before bigint[], expires_at bigint[], replaces text[], actor text[], metadata text[], approvals smallint[],
    approval_groups smallint[], limit_name text[], counted boolean[], hold text[], retry_at bigint[],
    created_at bigint[], event text[], debit bigint[], credit bigint[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT *, nextval('audit_leaves_id_seq') AS leaf,
            CASE WHEN counted THEN nextval('ledger_postings_id_seq') END AS posting
        FROM unnest(
            id, organisation, client, key_id, idempotency_key, evidence, run, run_index, item, beneficiary,
            destination_digest, asset, amount, reference_minor, external_id, remittance_information, activities,
            not_before, expires_at, replaces, actor, metadata, approvals, approval_groups, limit_name, counted, hold,
            retry_at, created_at, event, debit, credit)
        AS asked (
            id, organisation, client, key_id, idempotency_key, evidence, run, run_index, item, beneficiary,
            destination_digest, asset, amount, reference_minor, external_id, remittance_information, activities,
            not_before, expires_at, replaces, actor, metadata, approvals, approval_groups, limit_name, counted, hold,
            retry_at, created_at, event, debit, credit)
    ), said AS (
        INSERT INTO audit_leaves (id, leaf) OVERRIDING SYSTEM VALUE
        SELECT leaf, '{"event":' || event || ',"role":' || to_json(session_user::text) || '}' FROM asked
    ), reserved AS (
        INSERT INTO ledger_postings (id, kind, debit_account, credit_account, amount, entry, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT posting, 'pending', debit, credit, amount::numeric, id, created_at FROM asked WHERE counted
    ), told AS (
        INSERT INTO outbox (organisation, topic, object, created_at)
        SELECT organisation, CASE WHEN hold IS NULL THEN 'payout.created' ELSE 'payout.held' END, id, created_at
        FROM asked
    ), listed AS (
        INSERT INTO run_items (run, run_index, payout, leaf)
        SELECT run, run_index, id, item FROM asked WHERE run IS NOT NULL
    )
    INSERT INTO payouts (
        id, organisation, client, key_id, idempotency_key, evidence, leaf, run, run_index, beneficiary,
        destination_digest, asset, amount, reference_minor, external_id, remittance_information, activities,
        not_before, expires_at, replaces, actor, metadata, approvals, approval_groups, limit_name, counted, posting,
        intake_hold, intake_retry_at, created_at, state, hold, retry_at, due_at, updated_at)
    SELECT
        id, organisation, client, key_id, idempotency_key, evidence, leaf, run, run_index, beneficiary,
        destination_digest, asset, amount::numeric, reference_minor::numeric, external_id, remittance_information,
        activities, not_before, expires_at, replaces, actor, metadata, approvals, approval_groups, limit_name,
        counted, posting, hold, retry_at, created_at, CASE WHEN hold IS NULL THEN 'received' ELSE 'held' END, hold,
        retry_at, coalesce(retry_at, created_at), created_at
    FROM asked;
END $$;

CREATE FUNCTION strongroom.intake_beneficiary(
    id text, organisation text, client text, idempotency_key text, external_id text, name text, evidence bigint,
    created_at bigint, event text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO outbox (organisation, topic, object, created_at)
        VALUES (organisation, 'beneficiary.created', id, created_at);
    INSERT INTO beneficiaries
        VALUES (id, organisation, client, idempotency_key, external_id, name, evidence, audit_append(event), created_at)
$$;

CREATE FUNCTION strongroom.intake_destination(
    digest text, organisation text, beneficiary text, declared_by text, version integer, class text, network text,
    address text, record bytea, evidence bigint, created_at bigint, cooling_until bigint, event text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    PERFORM audit_append(event);
    IF version > 1 THEN
        INSERT INTO outbox (organisation, topic, object, created_at)
            VALUES (organisation, 'beneficiary.change_requested', beneficiary, created_at);
    END IF;
    INSERT INTO destinations VALUES (digest, organisation, beneficiary, declared_by, version, class, network, address,
        record, evidence, created_at, cooling_until);
END $$;

CREATE FUNCTION strongroom.intake_run(
    id text, organisation text, client text, idempotency_key text, external_id text, evidence bigint,
    created_at bigint, event text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO runs VALUES (
        id, organisation, client, idempotency_key, external_id, evidence, audit_append(event), created_at)
$$;

CREATE FUNCTION strongroom.intake_run_call(
    run text, first_index integer, count integer, summary text, frontier bytea, evidence bigint, created_at bigint
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO run_calls VALUES (run, first_index, count, summary, frontier, evidence, created_at)
$$;

CREATE FUNCTION strongroom.intake_run_seal(
    run text, organisation text, count integer, totals text, root bytea, evidence bigint, created_at bigint,
    event text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    PERFORM audit_append(event);
    INSERT INTO outbox (organisation, topic, object, created_at)
        VALUES (organisation, 'payout_run.sealed', run, created_at);
    INSERT INTO run_seals VALUES (run, count, totals, root, evidence, created_at);
END $$;

CREATE FUNCTION strongroom.intake_cancel(
    object text, organisation text, client text, evidence bigint, created_at bigint, event text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
BEGIN
    PERFORM audit_append(event);
    INSERT INTO cancel_requests VALUES (object, organisation, client, evidence, created_at);
END $$;

CREATE FUNCTION strongroom.intake_other(client text, idempotency_key text, evidence bigint, result text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO other_requests VALUES (client, idempotency_key, evidence, result)
$$;
