-- What a chain of accounts calls what was signed. There the name depends on the signature, and an attempt is named by what
-- was asked to be signed; on chains of coins both are the same, and nothing stands here.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE strongroom.chain_names (
    chain_transaction text PRIMARY KEY REFERENCES strongroom.attempts,
    chain_name text NOT NULL UNIQUE CHECK (chain_name ~ '^0x[0-9a-f]{64}$')
);
CALL strongroom.make_append_only('chain_names');

CREATE FUNCTION strongroom.engine_chain_name(chain_transaction text, chain_name text) RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO chain_names SELECT a.chain_transaction, engine_chain_name.chain_name FROM attempts a
    WHERE a.chain_transaction = engine_chain_name.chain_transaction AND a.signed IS NOT NULL AND a.nonce IS NOT NULL
    ON CONFLICT (chain_transaction) DO NOTHING
$$;

GRANT SELECT ON strongroom.chain_names TO strongroom_api;
REVOKE EXECUTE ON FUNCTION strongroom.engine_chain_name FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.engine_chain_name TO strongroom_engine;
