"""The catalogue of refusals."""

from strongroom.domain.errors import CATALOGUE, Code, Refusal, RefusalError
from strongroom.domain.invariant import InvariantError


def test_every_code_has_one_row_in_the_order_of_the_codes() -> None:
    assert list(CATALOGUE) == list(Code)


def test_statuses_are_refusals_and_only_our_own_faults_are_5xx() -> None:
    ours = {code for code, row in CATALOGUE.items() if row.status >= 500}
    assert ours == {Code.UNAVAILABLE, Code.INTERNAL}
    assert all(400 <= row.status < 600 for row in CATALOGUE.values())


def test_a_refusal_inside_a_list_names_the_whole_path() -> None:
    refusal = Refusal(Code.INVALID, "must be a string", "amount")
    assert refusal.within("items[17]").field == "items[17].amount"
    assert Refusal(Code.HELD, "waits").within("items[3]").field == "items[3]"
    assert refusal.row.status == 422


def test_errors_say_what_they_carry() -> None:
    refusal = Refusal(Code.NOT_FOUND, "there is no such payout")
    assert str(RefusalError(refusal)) == "not_found: there is no such payout"
    assert RefusalError(refusal).refusal is refusal
    assert str(InvariantError("balance below zero")) == "balance below zero"
