-- People ask for payouts and name destinations as clients do (ADR 0030): in the columns that say who asked stands a person.
-- The evidence of a person is their record as `signature_base`, and the assertion over it, as JSON, as `signature`.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE strongroom.evidence DROP CONSTRAINT evidence_signature_check;
ALTER TABLE strongroom.evidence ADD CONSTRAINT evidence_signature_check
    CHECK (octet_length(signature) = 64 OR client LIKE 'pe\_%');
ALTER TABLE strongroom.beneficiaries DROP CONSTRAINT beneficiaries_client_fkey;
ALTER TABLE strongroom.beneficiaries ADD CONSTRAINT beneficiaries_client_check
    CHECK (client ~ '^(cl|pe)_[a-z2-7]{26}$');
ALTER TABLE strongroom.destinations DROP CONSTRAINT destinations_declared_by_fkey;
ALTER TABLE strongroom.destinations ADD CONSTRAINT destinations_declared_by_check
    CHECK (declared_by ~ '^(cl|pe)_[a-z2-7]{26}$');
ALTER TABLE strongroom.runs DROP CONSTRAINT runs_client_fkey;
ALTER TABLE strongroom.runs ADD CONSTRAINT runs_client_check CHECK (client ~ '^(cl|pe)_[a-z2-7]{26}$');

-- What the console took from people, for the API's process to record: there is one intake writer, and the console reaches
-- nobody. An answer is what the API would have answered over HTTP.
CREATE TABLE strongroom.person_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record text NOT NULL CHECK (octet_length(record) <= 524288),
    assertion text NOT NULL CHECK (octet_length(assertion) <= 65536),
    created_at bigint NOT NULL
);
CREATE TABLE strongroom.person_answers (
    request bigint PRIMARY KEY REFERENCES strongroom.person_requests,
    status integer NOT NULL,
    body text NOT NULL,
    created_at bigint NOT NULL
);
CALL strongroom.make_append_only('person_requests');
CALL strongroom.make_append_only('person_answers');

CREATE FUNCTION strongroom.console_ask(record text, assertion text, at bigint) RETURNS bigint LANGUAGE sql
SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO person_requests (record, assertion, created_at) VALUES (record, assertion, at) RETURNING id
$$;
CREATE FUNCTION strongroom.intake_answer(request bigint, status integer, body text, at bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO person_answers VALUES (request, status, body, at) ON CONFLICT DO NOTHING
$$;

REVOKE EXECUTE ON FUNCTION strongroom.console_ask, strongroom.intake_answer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.console_ask TO strongroom_console;
GRANT EXECUTE ON FUNCTION strongroom.intake_answer TO strongroom_api;
GRANT SELECT ON strongroom.person_requests, strongroom.person_answers TO strongroom_api, strongroom_console;
