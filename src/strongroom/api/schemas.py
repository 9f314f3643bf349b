"""The bodies that clients send and get. Unknown fields are refused; every text and list has a bound."""

from typing import Annotated, Final, Literal

import msgspec

_END: Final = r"$(?!\n)"
"""The end. `$` alone lets a newline by in Python, and in no other reader of the OpenAPI document."""
_AMOUNT: Final = rf"^[1-9][0-9]{{0,77}}{_END}"
_TIME: Final = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\.[0-9]{{1,3}})?Z{_END}"

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
AmountText = Annotated[str, msgspec.Meta(pattern=_AMOUNT, description="Base units, at most 2^256-1")]
TimeText = Annotated[str, msgspec.Meta(pattern=_TIME, description="RFC 3339, UTC")]
HexText = Annotated[str, msgspec.Meta(pattern=rf"^([0-9a-f]{{2}})+{_END}", max_length=16_384)]
Hash = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{64}}{_END}")]
AssetText = Annotated[str, msgspec.Meta(min_length=1, max_length=120, description="CAIP-19, or iso4217:EUR")]
Network = Annotated[str, msgspec.Meta(min_length=1, max_length=60, description="CAIP-2, or sepa")]
BeneficiaryText = Annotated[str, msgspec.Meta(pattern=rf"^ben_[a-z2-7]{{26}}{_END}")]
PayoutText = Annotated[str, msgspec.Meta(pattern=rf"^po_[a-z2-7]{{26}}{_END}")]
RunText = Annotated[str, msgspec.Meta(pattern=rf"^run_[a-z2-7]{{26}}{_END}")]
KeyText = Annotated[str, msgspec.Meta(pattern=rf"^[!-~]{{1,255}}{_END}")]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A body that a client sends."""


class Answer(msgspec.Struct):
    """A body that a client gets."""


class Actor(Body):
    """The end user behind a call of the client's system."""

    id: Text
    session_id: Text | None = None
    ip: Annotated[str, msgspec.Meta(max_length=45)] | None = None
    mfa_at: TimeText | None = None


class PayoutBody(Body, kw_only=True):
    beneficiary: BeneficiaryText
    destination_digest: Hash
    asset: AssetText
    amount: AmountText
    external_id: Text
    remittance_information: Annotated[str, msgspec.Meta(min_length=1, max_length=140)] | None = None
    activities: Annotated[list[Text], msgspec.Meta(max_length=1_000)] = []
    not_before: TimeText | None = None
    expires_at: TimeText | None = None
    on_hold: Literal["hold", "refuse"] = "hold"
    replaces: PayoutText | None = None
    actor: Actor | None = None
    metadata: Annotated[
        dict[Annotated[str, msgspec.Meta(min_length=1, max_length=40)], Annotated[str, msgspec.Meta(max_length=500)]],
        msgspec.Meta(max_length=20),
    ] = {}


class RunItemBody(PayoutBody, kw_only=True):
    idempotency_key: KeyText


class SealBody(Body):
    count: Annotated[int, msgspec.Meta(ge=1, le=200_000)]
    totals: Annotated[dict[AssetText, AmountText], msgspec.Meta(min_length=1, max_length=64)]
    root: Hash


class RunBody(Body, kw_only=True):
    items: Annotated[list[RunItemBody], msgspec.Meta(min_length=1, max_length=10_000)]
    seal: SealBody | None = None
    external_id: Text | None = None


class RunItemsBody(Body):
    first_index: Annotated[int, msgspec.Meta(ge=1, le=200_000)]
    items: Annotated[list[RunItemBody], msgspec.Meta(min_length=1, max_length=10_000)]


class CancelBody(Body):
    """The idempotency key that the payout or run was made with."""

    idempotency_key: KeyText


class DestinationFields(Body, kw_only=True):
    """A chain address, or for network `sepa` an account."""

    network: Network
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=90)] | None = None
    iban: Annotated[str, msgspec.Meta(min_length=1, max_length=34)] | None = None
    account_holder: Annotated[str, msgspec.Meta(min_length=1, max_length=140)] | None = None
    country: Annotated[str, msgspec.Meta(pattern=rf"^[A-Z]{{2}}{_END}")] | None = None


class BeneficiaryBody(Body):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=140)]
    destination: DestinationFields
    external_id: Text | None = None


class DestinationBody(DestinationFields, kw_only=True):
    version: Annotated[int, msgspec.Meta(ge=2, le=1_000)]
    previous: Hash


class HoldAnswer(Answer):
    reason: str
    retry_at: str | None


class Explanation(Answer):
    text_for_payee: str
    next_step: str
    eta: str | None


class StatusReason(Answer):
    """Why a payout is as it is: `code` is the signer's rule or a word of ours, `source` who says so."""

    code: str
    source: str
    detail: str


class CheckpointAnswer(Answer):
    """One step of a payout's road: `result` is passed, waiting, not_needed or pending."""

    name: str
    by: str
    result: str
    at: str | None


class PayoutDestination(Answer):
    digest: str
    version: int
    network: str
    address: str
    destination_class: str = msgspec.field(name="class")


class PayoutAnswer(Answer):
    """`chain_transactions` are by the chain's names, `attempts` the same ones by the signer's, which a void proof and a
    release name; on chains of coins both are the same."""

    id: str
    organisation: str
    client: str
    beneficiary: str
    destination: PayoutDestination
    asset: str
    amount: str
    external_id: str
    remittance_information: str | None
    activities: list[str]
    run: str | None
    run_index: int | None
    state: str
    hold: HoldAnswer | None
    cancel_requested: bool
    status_reason: StatusReason | None
    explanation: Explanation
    checkpoints: list[CheckpointAnswer]
    chain_transactions: list[str]
    attempts: list[str]
    not_before: str | None
    expires_at: str | None
    replaces: str | None
    metadata: dict[str, str]
    created_at: str
    updated_at: str


class DestinationAnswer(Answer):
    digest: str
    version: int
    network: str
    address: str
    destination_class: str = msgspec.field(name="class")
    cooling_until: str


class BeneficiaryAnswer(Answer):
    """`destination` is the newest version; `destinations` all of them, the oldest first."""

    id: str
    organisation: str
    client: str
    name: str
    external_id: str | None
    destination: DestinationAnswer
    destinations: list[DestinationAnswer]
    created_at: str


class SealAnswer(Answer):
    count: int
    totals: dict[str, str]
    root: str


class RunAnswer(Answer):
    """`state` is open, sealed or cancel_requested; `held` counts items by why they wait."""

    id: str
    organisation: str
    client: str
    external_id: str | None
    state: str
    count: int
    totals: dict[str, str]
    held: dict[str, int]
    seal: SealAnswer | None
    created_at: str
    sealed_at: str | None


class ApprovalsNeeded(Answer):
    count: int
    groups: int


class Reference(Answer):
    currency: str
    minor: str


class LimitAnswer(Answer):
    """Minor units of the reference currency."""

    name: str
    window_ms: int
    maximum: str
    used: str
    left: str


class FeeEstimate(Answer):
    """What the wallet would pay beside the amount, in base units of `asset`: between its share of a large batch now and
    the most that would be offered for it alone. `rate` is for 1,000 bytes or gas, as a node said at `measured_at`."""

    asset: str
    least: str
    most: str
    rate: str
    measured_at: str


class FeeRange(Answer):
    """Of a run: each row's share of large batches, and each row alone."""

    least: str
    most: str


class PreviewAnswer(Answer):
    tier: int
    approvals: ApprovalsNeeded
    reference: Reference
    hold: HoldAnswer | None
    fee_estimate: FeeEstimate | None
    limits: list[LimitAnswer]
    warnings: list[str]


class FieldProblem(Answer):
    code: str
    detail: str
    field: str | None


class PreviewRow(Answer):
    row: int
    preview: PreviewAnswer | None
    problem: FieldProblem | None


class RunPreviewAnswer(Answer):
    count: int
    totals: dict[str, str]
    fees: dict[str, FeeRange]
    rows: list[PreviewRow]


class EvidenceAnswer(Answer):
    """All that is needed to check offline that the client, or a person, asked for this; binary values in base64.

    Of a person `signature_base` is the record `strongroom/intent/v1`, `signature` the assertion over it as JSON, and
    `public_key` is in COSE.
    """

    method: str
    path: str
    authority: str
    key_id: str
    public_key: str
    idempotency_key: str
    signature_base: str
    signature: str
    body: str
    received_at: str
    run: str | None
    run_index: int | None
    run_item: str | None


class UnpaidAnswer(Answer):
    """`receipt` is the record `strongroom/receipt/v1`, as signed by the signer: it was never paid and never will be."""

    receipt: str
    signature: str


class ReceiptAnswer(Answer):
    """The audit leaf that tells of the payout, and the proof that it is in the log under a signed checkpoint.

    `unpaid` is there once the payout ended without being paid. If it was signed before, it is a void proof.
    """

    payout: str
    leaf_index: int
    leaf: str
    tree_size: int
    proof: list[str]
    checkpoint: str
    unpaid: UnpaidAnswer | None


class BalanceAnswer(Answer):
    account: str
    asset: str
    available: str
    reserved: str
    posted: str


class WalletAnswer(Answer):
    """As watch saw it last; where it reads no chain for this asset, what the ledger says now, and null.

    `under_way` left on the chain and isn't settled yet, so where `is_whole`, `chain` is `ledger` less that.
    """

    asset: str
    ledger: str
    network: str | None
    chain: str | None
    under_way: str | None
    is_whole: bool | None
    height: int | None
    block_hash: str | None
    changed_at: str | None


class AuditEntry(Answer):
    """`leaf` is null where it tells of another organisation; its hash still proves that it is there."""

    leaf_index: int
    leaf_hash: str
    leaf: str | None


class AuditEntries(Answer):
    start: int
    data: list[AuditEntry]


class InclusionAnswer(Answer):
    leaf_index: int
    tree_size: int
    leaf_hash: str
    proof: list[str]


class ConsistencyAnswer(Answer):
    first: int
    second: int
    proof: list[str]


class AssertionBody(Body):
    """A WebAuthn assertion over an approval request, its parts in hex."""

    person: Annotated[str, msgspec.Meta(pattern=rf"^pe_[a-z2-7]{{26}}{_END}")]
    credential: HexText
    client_data: HexText
    authenticator_data: HexText
    signature: HexText


class ApprovalAnswer(Answer):
    """`request` is the record `strongroom/approval-request/v1` verbatim, `signature` the signer's over it, in hex."""

    id: str
    subject: str
    request: str
    signature: str
    approvals: int
    groups: int
    people: list[str]
    created_at: str


class ApprovalList(Answer):
    data: list[ApprovalAnswer]
    next_cursor: str | None


class PayoutList(Answer):
    data: list[PayoutAnswer]
    next_cursor: str | None


class BeneficiaryList(Answer):
    data: list[BeneficiaryAnswer]
    next_cursor: str | None


class RunList(Answer):
    data: list[RunAnswer]
    next_cursor: str | None


class BalanceList(Answer):
    data: list[BalanceAnswer]
    next_cursor: None


class WalletList(Answer):
    data: list[WalletAnswer]
    next_cursor: None


class CancelAnswer(Answer):
    id: str
    state: str
    cancel_requested: bool


class ProblemAnswer(Answer, omit_defaults=True):
    """RFC 9457, with what a client can branch on (`code`) and the place at fault (`field`)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    field: str | None = None


class Health(Answer):
    status: str
