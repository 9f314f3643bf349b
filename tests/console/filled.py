"""Rows by the thousand, written by the database's owner: what a busy organisation's pages have to read."""

from tests.console.world import World

PAYOUTS, WAITING, BENEFICIARIES = 10_000, 2_000, 5_000

# Ids are of the right form, and otherwise numbers in letters.
_ID = "translate(lpad({}::text, 26, 'a'), '0189', 'bcde')"
_BENEFICIARIES = """
INSERT INTO strongroom.beneficiaries
SELECT 'ben_' || {id}, $1, $2, 'b' || n, NULL, 'Payee ' || n, 0, n, $3 FROM generate_series(1, {count}) n
"""
_DESTINATIONS = """
INSERT INTO strongroom.destinations
SELECT encode(sha256(n::text::bytea), 'hex'), $1, 'ben_' || {id}, $2, 1, 'declared', 'sim:sandbox',
    'sim1' || substr(encode(sha256(n::text::bytea), 'hex'), 1, 40), '{{}}', 0, $3, $3
FROM generate_series(1, {count}) n
"""
_PAYOUTS = """
INSERT INTO strongroom.payouts (id, organisation, client, key_id, idempotency_key, evidence, leaf, beneficiary,
    destination_digest, asset, amount, reference_minor, external_id, approvals, approval_groups, counted, created_at,
    state, updated_at, hold)
SELECT 'po_' || {id}, $1, $2, 'ak_x', 'p' || n, n, {beneficiaries} + n, 'ben_' || {beneficiary},
    encode(sha256((1 + n % {beneficiaries})::text::bytea), 'hex'), $4, 1000000000 + n, 1000 + n, 'trip ' || n, 1, 1,
    false, $3, CASE WHEN n <= {waiting} THEN 'awaiting_approval' WHEN n % 50 = 0 THEN 'held' ELSE 'settled' END, $3,
    CASE WHEN n > {waiting} AND n % 50 = 0 THEN 'funds' END
FROM generate_series(1, {count}) n
"""
_REQUESTS = """
INSERT INTO strongroom.approval_requests (organisation, subject, request, request_hash, signature, approvals, groups,
    created_at)
SELECT p.organisation, p.id, convert_to(json_build_object('amount', p.amount::text, 'asset', p.asset, 'beneficiary',
    p.beneficiary, 'client', p.client, 'destination', json_build_object('address', d.address, 'class', d.class,
    'digest', d.digest, 'name', 'Payee', 'network', d.network, 'version', 1), 'excluded', '[]'::json,
    'expires_ms', $1::bigint + 86400000,
    'external_id', p.external_id, 'kind', 'payout', 'payout', p.id)::text, 'UTF8'),
    encode(sha256(p.id::bytea), 'hex'), decode(repeat('00', 64), 'hex'), 1, 1, $1::bigint
FROM strongroom.payouts p JOIN strongroom.destinations d ON d.digest = p.destination_digest
WHERE p.state = 'awaiting_approval'
"""


def fill(world: World) -> None:
    new = world.made.new
    organisation, client = new.id, new.clients[0].id
    asset = world.made.document["assets"]["SIM"]
    run = world.owner.execute
    rows = _ID.format("n")
    run(_BENEFICIARIES.format(id=rows, count=BENEFICIARIES), organisation, client, world.now)
    run(_DESTINATIONS.format(id=rows, count=BENEFICIARIES), organisation, client, world.now)
    run(_PAYOUTS.format(
        id=rows, beneficiary=_ID.format(f"(1 + n % {BENEFICIARIES})"), beneficiaries=BENEFICIARIES, waiting=WAITING,
        count=PAYOUTS), organisation, client, world.now, asset)
    run(_REQUESTS, world.now)
    run("ANALYZE")
