-- Payouts on their way are looked at in every step of the engine: found by their state, however many are settled.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE INDEX payouts_sent ON strongroom.payouts (id) WHERE state IN ('signed', 'broadcast', 'confirmed');
