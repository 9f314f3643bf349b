-- What is asked for to be mined soon, by network, as the engine's nodes said last: the API, which reaches no node, estimates
-- fees by it. Only the newest is kept, and nothing is decided by it.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- In base units of the asset that pays the network's fees, for 1,000 bytes or 1,000 gas. `offered` is what an attempt would
-- offer, of which a chain may give some back; `expected` what it would cost now.
CREATE TABLE strongroom.fee_rates (
    network text PRIMARY KEY,
    expected numeric(78, 0) NOT NULL CHECK (expected >= 0),
    offered numeric(78, 0) NOT NULL CHECK (offered >= expected),
    measured_at bigint NOT NULL
);

CREATE FUNCTION strongroom.engine_fee_rate(network text, expected text, offered text, at bigint) RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
    INSERT INTO fee_rates VALUES (engine_fee_rate.network, expected::numeric, offered::numeric, at)
    ON CONFLICT (network) DO UPDATE SET expected = excluded.expected, offered = excluded.offered,
        measured_at = excluded.measured_at
$$;

GRANT SELECT ON strongroom.fee_rates TO strongroom_api;
REVOKE EXECUTE ON FUNCTION strongroom.engine_fee_rate FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.engine_fee_rate TO strongroom_engine;
