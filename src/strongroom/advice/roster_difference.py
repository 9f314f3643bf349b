"""What a new roster says otherwise than the old one, and which way it goes: more power for somebody is *looser*.

People, groups, clients and keys are told apart by their ids; the signer does the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from strongroom.advice.difference import Change, Way
from strongroom.protocol.roster import Person, Roster, RosterClient, RosterKey

_Thing = TypeVar("_Thing")


def roster_differences(before: Roster, after: Roster) -> list[Change]:
    """In the order of the document."""
    return [*_people(before, after), *_groups(before, after), *_clients(before, after)]


def person_text(person: Person) -> str:
    """What one can do, in a line."""
    roles = ", ".join(person.roles) or "no role"
    groups = ", ".join(person.groups) or "no group"
    keys = ", ".join(f"{each.credential_class} {each.id.hex()[:16]}" for each in person.credentials) or "no credential"
    return f"{person.name}: {roles}; {groups}; {keys}"


def _people(before: Roster, after: Roster) -> Iterator[Change]:
    old, new = ({str(each.id): each for each in roster.people} for roster in (before, after))
    for person, was, is_now in _pairs(old, new):
        field = f"people[{person}]"
        if was is None or is_now is None:
            yield _came_or_went(field, _text(was, person_text), _text(is_now, person_text))
            continue
        if was.name != is_now.name:
            yield Change(f"{field}.name", was.name, is_now.name, Way.LOOK)
        name = is_now.name
        yield from _sets(f"{field}.roles", name, was.roles, is_now.roles)
        yield from _sets(f"{field}.groups", name, was.groups, is_now.groups)
        yield from _sets(f"{field}.credentials", name, _credentials(was), _credentials(is_now))


def _credentials(person: Person) -> list[str]:
    return [f"{each.credential_class} {each.id.hex()} with key {each.public_key.hex()}" for each in person.credentials]


def _groups(before: Roster, after: Roster) -> Iterator[Change]:
    old, new = ({each.name: each.threshold for each in roster.groups} for roster in (before, after))
    for name, was, is_now in _pairs(old, new):
        if was != is_now:
            looser = was is not None and is_now is not None and is_now < was
            way = Way.LOOSER if looser else Way.TIGHTER if was is not None and is_now is not None else Way.LOOK
            yield Change(f"groups[{name}].threshold", _text(was, str), _text(is_now, str), way)


def _clients(before: Roster, after: Roster) -> Iterator[Change]:
    old, new = ({str(each.id): each for each in roster.clients} for roster in (before, after))
    for client, was, is_now in _pairs(old, new):
        field = f"clients[{client}]"
        yield from _keys(field, was, is_now)
        if was is not None and is_now is not None:
            for gone in sorted(set(was.custodians) - set(is_now.custodians)):
                yield Change(f"{field}.custodians", gone, None, Way.LOOSER)
            for came in sorted(set(is_now.custodians) - set(was.custodians)):
                yield Change(f"{field}.custodians", None, came, Way.TIGHTER)


def _keys(field: str, before: RosterClient | None, after: RosterClient | None) -> Iterator[Change]:
    old, new = ({str(each.id): each for each in (client.keys if client else ())} for client in (before, after))
    for key, was, is_now in _pairs(old, new):
        where = f"{field}.keys[{key}]"
        if was is None or is_now is None:
            yield _came_or_went(where, _text(was, _key), _text(is_now, _key))
        else:
            yield from _sets(f"{where}.scopes", key, was.scopes, is_now.scopes)
            if was.public_key != is_now.public_key:
                yield Change(f"{where}.public_key", was.public_key.hex(), is_now.public_key.hex(), Way.LOOK)


def _key(key: RosterKey) -> str:
    return f"{key.public_key.hex()} for {', '.join(key.scopes) or 'nothing'}"


def _sets(field: str, name: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    for gone in sorted(set(before) - set(after)):
        yield Change(field, f"{name} has {gone}", None, Way.TIGHTER)
    for came in sorted(set(after) - set(before)):
        yield Change(field, None, f"{name} has {came}", Way.LOOSER)


def _pairs(
    old: Mapping[str, _Thing], new: Mapping[str, _Thing]
) -> Iterator[tuple[str, _Thing | None, _Thing | None]]:
    for name in {**old, **new}:
        yield name, old.get(name), new.get(name)


def _came_or_went(field: str, before: str | None, after: str | None) -> Change:
    return Change(field, before, after, Way.LOOSER if before is None else Way.TIGHTER)


def _text(value: _Thing | None, text: Callable[[_Thing], str]) -> str | None:
    return None if value is None else text(value)
