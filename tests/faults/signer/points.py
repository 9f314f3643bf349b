"""Where the signer and guard are killed: one table of named points, put into a copy of the source by exact replacement.

Shipped code has no hook for this. A passage is text of the source with lines of the form `<name>` put between its own;
without them it must stand in its file exactly once, so a point whose code has changed is an error and never silent.
The same code may run in both processes, so a point is known by its process and its name.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.adversary.build import Patch, patched

SIGNER, GUARD = "signer", "guard"
_MARK = re.compile(r"^( *)<([^<>]+)>\n", re.MULTILINE)
_BURN = '__import__("tests.faults.signer.fuse", fromlist=["burn"]).burn'


@dataclass(frozen=True, slots=True)
class Passage:
    """`file` is below src/strongroom."""

    file: str
    text: str

    def names(self) -> list[str]:
        return [mark[2] for mark in _MARK.finditer(self.text)]

    def patch(self) -> Patch:
        def burning(mark: re.Match[str]) -> str:
            return f'{mark[1]}{_BURN}(f"{mark[2]}")\n'

        return Patch(self.file, _MARK.sub("", self.text), _MARK.sub(burning, self.text))


PASSAGES = (
    Passage("signer/desk.py", """\
        ripen(notary)
        <guard heard>
        clock = notary.reading()
        decision = decide(notary.book, asked, notary.lease, clock, self._wallets)
        <decided>
        if decision.entry is not None:
            notary.write(Kind.SPEND, decision.entry, clock)
            <spend written>
            notary.commit()
            <spend synced>
            self._agree_to(asked.organisation, decision.transaction.identifier)
            <spend agreed>
        signed = wallet_on(self._wallets, asked.network).sign(asked.organisation, asked.transaction, asked.paths)
        <signed>
        return {"signed"
""".removesuffix("\n")),
    Passage("signer/desk.py", """\
            notary.write(Kind.ABANDONED, body, notary.reading())
            <abandoned written>
            notary.commit()
            <abandoned synced>
            raise
"""),
    Passage("signer/notary.py", """\
        sent_ns = self._boot_ns()
        <frame made>
        try:
"""),
    Passage("signer/guard_link.py", """\
        rest = rest[connection.send(rest) :]
    <frame sent>
    length = int.from_bytes(_receive(connection, _LENGTH, ends_ns))
"""),
    Passage("signer/notary.py", """\
            raise Refused(Rule.GUARD_AGREES, str(fault)) from fault
        <answer received>
        if answer.is_cosigned and answer.journal != journal:
"""),
    Passage("signer/notary.py", """\
            self.write(Kind.CONTROL, {"entry": b64encode(raw).decode(), **self._instruction(raw, clock)}, clock)
            <control written>
        self.commit()
        <control synced>
"""),
    Passage("signer/sign_simulated.py", """\
            digest = simulated.signature_hash(unsigned, simulated.SIGHASH_ALL, index)
            <before a signature>
            signature = self._keys.wallet_sign(organisation, simulated.NETWORK, *path, digest)
"""),
    Passage("signer/register.py", """\
        notary.write(kind, {kind.value: part, "organisation": payments.standing.organisation}, clock)
        <{kind.value} written>
    if rows:
        notary.commit()
        <{kind.value} synced>
"""),
    Passage("signer/register.py", """\
        "organisation": organisation, "root": seal.root.hex(), "run": run, "totals": totals,
    }, clock)
    <run written>
    notary.commit()
    <run synced>
"""),
    Passage("signer/requests.py", """\
        "roster": standing.roster_hash, "subject": subject,
    }, clock)
    <request written>
    notary.commit()
    <request synced>
"""),
    Passage("signer/requests.py", """\
    notary.write(Kind.TOMBSTONE, {"object": subject, "organisation": payments.standing.organisation}, clock)
    <tombstone written>
    notary.commit()
    <tombstone synced>
"""),
    Passage("signer/changes.py", """\
    notary.write(Kind.ORGANISATION, body, notary.reading())
    <organisation written>
    notary.commit()
    <organisation synced>
"""),
    Passage("signer/changes.py", """\
        notary.write(Kind.CHANGE, body, clock)
        <change written>
        notary.commit()
        <change synced>
    notary.agree()
    <change agreed>
"""),
    Passage("signer/changes.py", """\
        notary.write(Kind.NOTICED, change, notary.reading())
        <noticed written>
        notary.commit()
        <noticed synced>
"""),
    Passage("signer/changes.py", """\
            notary.write(Kind.ENDED, {**body, "is_in_force": _is_next(pending.document, pending.raw, standing)}, clock)
            <ended written>
            notary.commit()
            <ended synced>
"""),
    Passage("signer/server.py", """\
            answer = self._handle(connection.channel.name, connection.frame)
            <answer made>
            connection.frame = b""
            connection.outbound = memoryview(len(answer).to_bytes(_LENGTH) + answer)
            connection.move(select.POLLOUT)
            <answered>
"""),
    Passage("signer/main.py", """\
        notary.write(Kind.RESUMED, {"guard_ms": guard_now}, notary.reading())
        <resumed written>
        notary.commit()
        <resumed synced>
"""),
    Passage("signer/start.py", """\
        <journal fetched>
        self.journal.bring_forward(entries, wanted.head)
        <brought forward>
"""),
    Passage("journal/journal.py", """\
        for entry in entries:
            self._write(entry)
            <fetched entry written>
        self.sync()
"""),
    Passage("journal/journal.py", """\
                self._disk.truncate(self._ends[-1])
                <torn tail cut>
            self._disk.sync()
"""),
    Passage("guard/signer_side.py", """\
                    answer = self._answer(await reader.readexactly(length))
                    <answer made>
                    writer.write(len(answer).to_bytes(_LENGTH) + answer)
                    await writer.drain()
                    <answered>
"""),
    Passage("guard/witness.py", """\
        sync = wire.parse_sync(wire.open_frame(key, frame, wire.SYNC_TYPE))
        <frame heard>
"""),
    Passage("guard/witness.py", """\
        if new:
            <compared>
            self._keep(new, sync)
        if standings is not self._log.standings:
            self._log.follow(standings)
            <followed>
            tell_members(self._notices, standings)
            <members told>
"""),
    Passage("guard/witness.py", """\
            self._marker.write(mark)
            <first marker written>
        self._append(new)
        <entries synced>
        self._marker.write(replace(mark, journal=sync.journal, signature=sync.head_signature))
        <marker written>
"""),
    Passage("guard/witness.py", """\
            self._journal.append(raw)
            <entry appended>
        self._journal.sync()
"""),
    Passage("guard/witness.py", """\
        disk.truncate(os.fstat(disk.file).st_size - tail)
        <unanswered tail cut>
        disk.sync()
"""),
    Passage("guard/marker.py", """\
            os.pwrite(self._file, body + hashlib.sha256(body).digest(), count % 2 * _SLOT)
            <marker not synced>
            os.fsync(self._file)
"""),
    Passage("guard/marker.py", """\
        handle.flush()
        <notices not synced>
        os.fsync(handle.fileno())
"""),
    Passage("guard/control_log.py", """\
        self.append(write_control(control))
        <instruction synced>
        self._marker.write(replace(self._marker.mark or EMPTY, control=self.head))
        <instruction marked>
"""),
    Passage("guard/control_log.py", """\
        self._chain.append(raw)
        <instruction appended>
        self._chain.sync()
"""),
    Passage("guard/officers.py", """\
        length = self._log.keep(control)
        <instruction kept>
"""),
)

HALVES = Patch(
    "journal/journal.py", "            rest = rest[os.write(self.file, rest) :]\n",
    f"            rest = rest[os.write(self.file, rest[: len(rest) // 2 or 1]) :]\n            {_BURN}('frame torn')\n",
)
"""A write that takes half: what a full disk or a signal does too."""

ACTS: dict[tuple[str, str], str] = {
    **dict.fromkeys(
        [
            (SIGNER, name) for name in (
                "guard heard", "decided", "spend written", "spend synced", "spend agreed", "before a signature",
                "signed",
            )
        ],
        "pay",
    ),
    (SIGNER, "abandoned written"): "pay while guard ends", (SIGNER, "abandoned synced"): "pay while guard ends",
    **{(SIGNER, name): "any" for name in (
        "frame made", "frame sent", "answer received", "answer made", "answered", "frame torn",
    )},
    (SIGNER, "control written"): "freeze", (SIGNER, "control synced"): "freeze",
    (SIGNER, "destinations written"): "declare", (SIGNER, "destinations synced"): "declare",
    (SIGNER, "intents written"): "ask", (SIGNER, "intents synced"): "ask",
    (SIGNER, "run written"): "run", (SIGNER, "run synced"): "run",
    (SIGNER, "request written"): "request", (SIGNER, "request synced"): "request",
    (SIGNER, "tombstone written"): "cancel", (SIGNER, "tombstone synced"): "cancel",
    (SIGNER, "organisation written"): "let in", (SIGNER, "organisation synced"): "let in",
    **{(SIGNER, name): "change" for name in (
        "change written", "change synced", "change agreed", "noticed written", "noticed synced", "ended written",
        "ended synced",
    )},
    (SIGNER, "resumed written"): "start", (SIGNER, "resumed synced"): "start",
    (SIGNER, "journal fetched"): "start behind", (SIGNER, "fetched entry written"): "start behind",
    (SIGNER, "brought forward"): "start behind",
    (SIGNER, "torn tail cut"): "start torn",
    **{(GUARD, name): "any" for name in (
        "answer made", "answered", "frame heard", "compared", "entry appended", "entries synced", "marker not synced",
        "marker written", "frame torn",
    )},
    (GUARD, "followed"): "freeze", (GUARD, "members told"): "change", (GUARD, "notices not synced"): "change",
    (GUARD, "first marker written"): "enrol",
    (GUARD, "unanswered tail cut"): "start unanswered", (GUARD, "torn tail cut"): "start torn",
    (GUARD, "instruction appended"): "freeze", (GUARD, "instruction synced"): "freeze",
    (GUARD, "instruction marked"): "freeze", (GUARD, "instruction kept"): "freeze",
}
"""Every point, and what must be done for it to be reached."""

POINTS = tuple(ACTS)


def build(folder: Path, *more: Patch) -> Path:
    """A copy of the source with all points, and then with `more`, the fault of a control."""
    return patched(folder, HALVES, *(each.patch() for each in PASSAGES), *more)
