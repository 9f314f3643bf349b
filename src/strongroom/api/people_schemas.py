"""The bodies about people: what they ask for, and what they change of policy and roster."""

from typing import Annotated, Literal

import msgspec

from strongroom.api.schemas import Answer, AssertionBody, Body


class PersonIntentBody(Body):
    """A record `strongroom/intent/v1` as text, and its person's assertion over exactly these bytes."""

    record: Annotated[str, msgspec.Meta(min_length=2, max_length=524_288)]
    assertion: AssertionBody


class ChangeBody(Body):
    """A policy or roster as text, and somebody's assertion over exactly these bytes."""

    document: Literal["policy", "roster"]
    raw: Annotated[str, msgspec.Meta(min_length=2, max_length=524_288)]
    assertion: AssertionBody


class ChangeAnswer(Answer):
    """`id` is the hash of `raw`; `people` asserted it, of whom `needed` of the governing group make a quorum. `due_at`
    is the API's estimate of when a pending one comes into force."""

    id: str
    document: str
    version: int
    raw: str
    proposer: str
    people: list[str]
    needed: int
    state: str
    detail: str
    due_at: str | None
    created_at: str
    expires_at: str
    updated_at: str


class ChangeList(Answer):
    data: list[ChangeAnswer]
    next_cursor: str | None


class RunningAnswer(Answer):
    """`raw` is the document verbatim, `hash` what the next version names as `previous`."""

    document: str
    version: int
    hash: str
    raw: str
    created_at: str
