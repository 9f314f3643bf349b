"""Signatures that wait together are checked together, each for itself."""

import asyncio

import pytest
from nacl.signing import SigningKey

from strongroom.api import verifier
from strongroom.api.verifier import Verifier
from strongroom.domain.ids import KeyId
from strongroom.domain.instant import Instant
from strongroom.protocol.http_signature import Signature

KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)


def signature(base: bytes, *, is_good: bool = True) -> Signature:
    signed = KEY.sign(base).signature if is_good else KEY.sign(base + b" ").signature
    return Signature(KeyId("ak_" + "a" * 26), Instant(0), Instant(1), base, signed)


def answers(asked: list[Signature]) -> list[bool]:
    async def go() -> list[bool]:
        made = Verifier()
        try:
            return await asyncio.gather(*(made.holds(each, PUBLIC) for each in asked))
        finally:
            made.close()

    return asyncio.run(go())


def test_one_that_is_alone_is_checked() -> None:
    assert answers([signature(b"alone")]) == [True]
    assert answers([signature(b"alone", is_good=False)]) == [False]


def test_each_of_many_gets_its_own_answer() -> None:
    wanted = [number % 3 != 0 for number in range(200)]
    asked = [signature(b"%d" % number, is_good=is_good) for number, is_good in enumerate(wanted)]
    assert answers(asked) == wanted


def test_a_key_or_signature_of_a_wrong_length_does_not_hold_and_hurts_nobody() -> None:
    async def go() -> list[bool]:
        made = Verifier()
        good = signature(b"good")
        try:
            short = Signature(good.key_id, good.created, good.expires, good.base, good.signature[:63])
            return await asyncio.gather(
                made.holds(good, PUBLIC), made.holds(good, PUBLIC[:31]), made.holds(short, PUBLIC),
                made.holds(good, PUBLIC),
            )
        finally:
            made.close()

    assert asyncio.run(go()) == [True, False, False, True]


def test_who_went_away_leaves_the_others_their_answers() -> None:
    async def go() -> list[bool]:
        made = Verifier()
        try:
            tasks = [asyncio.create_task(made.holds(signature(b"%d" % number), PUBLIC)) for number in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            left = await asyncio.gather(*tasks[1::2])
            again = await made.holds(signature(b"later"), PUBLIC)
            return [*left, again]
        finally:
            made.close()

    assert asyncio.run(go()) == [True] * 11


def test_a_fault_of_the_check_is_raised_to_those_who_asked_and_ends_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: bytes, __: bytes, ___: bytes) -> bool:
        raise MemoryError

    async def go() -> list[object]:
        made = Verifier()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(verifier, "holds", broken)
                asked = [made.holds(signature(b"%d" % number), PUBLIC) for number in range(3)]
                faults = await asyncio.gather(*asked, return_exceptions=True)
            return [*map(type, faults), await made.holds(signature(b"later"), PUBLIC)]
        finally:
            made.close()

    assert asyncio.run(go()) == [MemoryError] * 3 + [True]
