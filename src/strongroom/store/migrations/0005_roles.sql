-- One role for each process, with the least that it needs. A role is made without a password, so nobody can be it
-- until one is set. Functions are public by default in PostgreSQL: that is taken back first.

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['api', 'watch', 'engine', 'console', 'courier'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_' || name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS',
                'strongroom_' || name);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA strongroom TO %I', 'strongroom_' || name);
    END LOOP;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA strongroom FROM PUBLIC;
REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA strongroom FROM PUBLIC;

-- api: reads what clients may ask for, and records by the intake functions.
GRANT SELECT ON
    strongroom.deployment, strongroom.organisations, strongroom.policies, strongroom.clients, strongroom.client_keys,
    strongroom.bearer_keys, strongroom.key_revocations, strongroom.freezes, strongroom.evidence,
    strongroom.other_requests, strongroom.beneficiaries, strongroom.destinations, strongroom.runs,
    strongroom.run_calls, strongroom.run_seals, strongroom.run_items, strongroom.payouts, strongroom.cancel_requests,
    strongroom.ledger_accounts, strongroom.audit_leaves, strongroom.audit_sequence, strongroom.audit_nodes,
    strongroom.audit_checkpoints, strongroom.intake_epochs, strongroom.migrations
TO strongroom_api;
GRANT EXECUTE ON FUNCTION
    strongroom.intake_lock, strongroom.intake_begin, strongroom.intake_enter, strongroom.intake_lookup,
    strongroom.intake_evidence, strongroom.intake_payouts, strongroom.intake_beneficiary,
    strongroom.intake_destination, strongroom.intake_run, strongroom.intake_run_call, strongroom.intake_run_seal,
    strongroom.intake_cancel, strongroom.intake_other
TO strongroom_api;

-- watch: sees the log, and adds to its tree.
GRANT SELECT ON
    strongroom.deployment, strongroom.audit_leaves, strongroom.audit_sequence, strongroom.audit_nodes,
    strongroom.audit_checkpoints, strongroom.migrations
TO strongroom_watch;
GRANT INSERT ON strongroom.audit_sequence, strongroom.audit_nodes, strongroom.audit_checkpoints TO strongroom_watch;
GRANT EXECUTE ON FUNCTION strongroom.audit_lock TO strongroom_watch;

-- engine, console, courier: their processes aren't built yet; they get their grants with them.
