"""What the audit log says of a payout is canonical JSON, whatever the asset is called and whether it is held."""

from tests.conftest import Database
from tests.domain.policy_document import policy_document
from tests.store.organisation import declared, pays
from tests.store.running import World, run

from strongroom.domain.money import Amount, AssetId
from strongroom.protocol.canonical import encode, parse_object
from strongroom.store.record import Recorded

ODD = 'eip155:31337/"erc20":\\é\n'


def test_the_leaf_of_a_payout_is_canonical_and_says_what_was_recorded(database: Database) -> None:
    async def story(world: World) -> None:
        payer = world.organisation.payer
        to = await declared(world.intake, world.organisation, "payee")
        for key, hold in (("cooling", "cooling"), ("poor", "funds")):
            asked, evidence = pays(payer, key, to, amount=Amount(20_000, AssetId(ODD)))
            answer = await world.intake.pay(payer, asked, evidence)
            assert isinstance(answer, Recorded)
            (row,) = await world.fetch(
                "SELECT l.leaf FROM strongroom.audit_leaves l JOIN strongroom.payouts p ON p.leaf = l.id "
                "WHERE p.id = $1", asked.id,
            )
            leaf = parse_object(row["leaf"].encode())
            assert encode(leaf) == row["leaf"].encode()
            event = leaf["event"]
            assert isinstance(event, dict)
            assert (event["asset"], event["amount"], event["id"]) == (ODD, "20000", asked.id)
            assert (event["hold"], event["run"], event["at"]) == (hold, None, answer.payout.created_at)
            assert leaf["role"] == "strongroom_api"
            world.clock.now += 10_000
        assert len(event) == 12

    asset = policy_document()["assets"][0]
    run(database, story, assets=[asset, {**asset, "asset": ODD, "symbol": "ODD"}])
