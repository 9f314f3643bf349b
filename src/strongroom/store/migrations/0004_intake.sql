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

-- All that a decision needs to know about a batch, one row each, in the order asked.
CREATE FUNCTION strongroom.intake_lookup(
    payout text[], organisation text[], client text[], key_id text[], beneficiary text[], digest text[],
    external_id text[], asset text[]
) RETURNS TABLE (
    is_recorded boolean, key_is_revoked boolean, is_frozen boolean, beneficiary_is_known boolean,
    declared_by text, version integer, class text, network text, address text, destination_created_at bigint,
    cooling_until bigint, has_newer boolean, duplicate text, wallet bigint, available text
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    SELECT EXISTS (SELECT FROM payouts WHERE payouts.id = asked.payout),
        EXISTS (SELECT FROM key_revocations WHERE key_revocations.key_id = asked.key_id),
        coalesce((SELECT frozen FROM freezes WHERE freezes.organisation = asked.organisation
            ORDER BY epoch DESC LIMIT 1), false),
        EXISTS (SELECT FROM beneficiaries WHERE beneficiaries.id = asked.beneficiary
            AND beneficiaries.organisation = asked.organisation),
        destination.declared_by, destination.version, destination.class, destination.network, destination.address,
        destination.created_at, destination.cooling_until,
        EXISTS (SELECT FROM destinations newer WHERE newer.beneficiary = destination.beneficiary
            AND newer.version > destination.version),
        (SELECT earlier.id FROM payouts earlier LEFT JOIN destinations there ON there.digest = earlier.destination_digest
            WHERE earlier.client = asked.client AND earlier.external_id = asked.external_id
            AND (earlier.beneficiary = asked.beneficiary
                OR (there.network, there.address) = (destination.network, destination.address))
            ORDER BY earlier.created_at DESC, earlier.id LIMIT 1),
        wallet.id, (wallet.debits_posted - wallet.credits_posted - wallet.credits_pending)::text
    FROM unnest(payout, organisation, client, key_id, beneficiary, digest, external_id, asset) WITH ORDINALITY
        AS asked (payout, organisation, client, key_id, beneficiary, digest, external_id, asset, ordinal)
    LEFT JOIN destinations destination ON destination.digest = asked.digest
        AND destination.organisation = asked.organisation AND destination.beneficiary = asked.beneficiary
    LEFT JOIN ledger_accounts wallet ON wallet.organisation = asked.organisation
        AND wallet.account = 'wallet:hot' AND wallet.asset = asked.asset
    ORDER BY ordinal
$$;

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
