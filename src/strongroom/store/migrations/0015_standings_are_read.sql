-- Who reads balances is told what watch found when it held them against the chain.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

GRANT SELECT ON strongroom.reconciliations TO strongroom_api;
