"""An address made to be mistaken for a known one is found, whatever lies between its ends, and none is that isn't."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.signer.world import payee

from strongroom.advice.look_alike import ENDS_MINIMUM, differing, ends, look_alike

EVM, BITCOIN, SIMULATED = "eip155:1", "bip122:000000000019d6689c085ae165831e93", "sim:sandbox"
HEX = "0123456789abcdef"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
KNOWN = "0x52908400098527886E0F7030069857D2E4169EE7"
PREFIXES = ("bc1q", "bc1p", "tb1q", "bcrt1q", "bcrt1p")


def of(alphabet: str, size: int) -> some.SearchStrategy[str]:
    return some.text(alphabet=alphabet, min_size=size, max_size=size)


@pytest.mark.parametrize(("network", "address", "known", "is_alike"), [
    (EVM, "0x52908400098527886e0f7030069857d2e4169ee8", KNOWN, False),
    (EVM, "0x5290000000000000000000000000000000009EE7", KNOWN, True),
    (EVM, "0x5200000000000000000000000000000000009EE7", KNOWN, False),
    (EVM, KNOWN, KNOWN, False),
    (EVM, KNOWN.lower(), KNOWN, False),
    (BITCOIN, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0000000000000000000000000000000005mdq", True),
    (BITCOIN, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qzzzsrrr7xfkvy5l643lydnw9re59gtzzwf5mdq", False),
    (BITCOIN, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "1BvBxxxxxxxxxxxxxxxxxxxxxxxxxaNVN2", True),
    (BITCOIN, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "1bvbMSEYstWetqTFn5Au4m4GFg7xJaNVN2", False),
    ("sepa", "DE89370400440532013000", "DE89370400440532012000", False),
])
def test_what_looks_alike(network: str, address: str, known: str, is_alike: bool) -> None:
    assert (look_alike(network, address, [known]) is not None) is is_alike


@given(of(HEX, 40), of(HEX, 34), some.lists(of(HEX, 40)))
def test_a_ground_evm_address_is_found_among_others(known: str, middle: str, others: list[str]) -> None:
    made = known[:ENDS_MINIMUM] + middle + known[-ENDS_MINIMUM:]
    found = look_alike(EVM, "0x" + made, [*("0x" + each for each in others), "0x" + known.upper()])
    assert (found is None) is (made == known and not any(_near(made, each) for each in others))


@given(some.sampled_from(PREFIXES), of(BECH32, 38), of(BECH32, 32))
def test_a_ground_bech32_address_is_found(prefix: str, known: str, middle: str) -> None:
    made = known[:ENDS_MINIMUM] + middle + known[-ENDS_MINIMUM:]
    found = look_alike(BITCOIN, prefix + made, [prefix + known])
    assert (found is not None) is (made != known)


@given(some.sampled_from(PREFIXES), of(BECH32, 38), of(BECH32, 38))
def test_a_common_prefix_makes_no_look_alike(prefix: str, one: str, other: str) -> None:
    assert (look_alike(BITCOIN, prefix + one, [prefix + other]) is not None) is _near(one, other)


@given(some.text(max_size=60), some.text(max_size=60), some.sampled_from((EVM, BITCOIN, SIMULATED, "sepa")))
def test_nothing_is_its_own_look_alike_and_who_resembles_is_resembled(one: str, other: str, network: str) -> None:
    assert look_alike(network, one, [one]) is None
    assert (look_alike(network, one, [other]) is None) is (look_alike(network, other, [one]) is None)
    if look_alike(network, one, [other]) is not None:
        assert ends(network, one) == ends(network, other)


def test_the_nearest_is_named_and_what_differs_is_marked() -> None:
    far, near = "0x529" + "0" * 34 + "EE7", "0x52908400098527886E0F7030069857D2E4160EE7"
    found = look_alike(EVM, KNOWN, [far, near])
    assert found is not None
    assert (found.known, found.differs) == (near, (38,))
    assert differing(BITCOIN, "abc", "aB") == (1, 2)
    assert differing(EVM, "0xABc", "0xabd") == (4,)
    assert look_alike(SIMULATED, payee("a"), [payee("b")]) is None


def _near(one: str, other: str) -> bool:
    return (one != other and one[:ENDS_MINIMUM] == other[:ENDS_MINIMUM]
            and one[-ENDS_MINIMUM:] == other[-ENDS_MINIMUM:])
