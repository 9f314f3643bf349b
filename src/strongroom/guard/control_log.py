"""Guard's control log: every instruction that was checked and kept, hash-chained, for the signer to apply.

`current` is what stands when all of it is applied: the journal's word, and on top of it what the signer hasn't
journaled yet. Guard's own answers go by it; what the signer makes of an instruction is the signer's.
"""

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.guard.marker import EMPTY, Marker
from strongroom.journal.journal import Journal
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.control import Control, check_control, read_control, write_control
from strongroom.protocol.entry import Reading
from strongroom.protocol.guard_wire import fitting
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.negative import INSTRUCTION_FAULTS, Instruction, InstructionError, apply
from strongroom.protocol.standing import Standing
from strongroom.protocol.standings import Standings

WAITING_MAXIMUM: Final = 4_096
"""Entries that the signer hasn't journaled, above which clients must wait; officers never do."""


class ControlLog:
    def __init__(self, chain: Journal, marker: Marker, standings: Standings) -> None:
        self._chain = chain
        self._marker = marker
        self.current: dict[OrganisationId, Standing] = {}
        self.follow(standings)

    @property
    def head(self) -> Head:
        return Head(self._chain.length, self._chain.head)

    def follow(self, standings: Standings) -> None:
        """The journal has gone on to `standings`."""
        self.standings, self.current = standings, dict(standings.organisations)
        for raw in self._chain.entries(standings.control.length):
            with suppress(*INSTRUCTION_FAULTS):
                control = read_control(raw)
                self._apply(control, self._check(control))

    def keep(self, control: Control) -> int:
        """The log's length with this instruction in it, which lasts. Raises: negative.INSTRUCTION_FAULTS."""
        waiting = self._chain.length - self.standings.control.length
        if isinstance(control.given, ClientEvidence) and waiting >= WAITING_MAXIMUM:
            raise InstructionError("must wait: the signer has many others to apply")
        instruction = self._check(control)
        self.append(write_control(control))
        self._marker.write(replace(self._marker.mark or EMPTY, control=self.head))
        self._apply(control, instruction)
        return self._chain.length

    def append(self, raw: bytes) -> None:
        self._chain.append(raw)
        self._chain.sync()

    def holds(self, head: Head) -> bool:
        return self._chain.holds(head)

    def after(self, head: Head) -> tuple[bytes, ...]:
        """What to apply next, after this head of ours."""
        return fitting(self._chain.entries(head.length))

    def _check(self, control: Control) -> Instruction:
        standing, genesis = self.current.get(control.organisation), self.standings.genesis
        if standing is None or genesis is None:
            raise InstructionError("its organisation isn't known here")
        clock = Reading(control.at, control.at, control.at)
        return check_control(control, standing, genesis, self.standings.deployment, clock)

    def _apply(self, control: Control, instruction: Instruction) -> None:
        """To a copy: the journal's word about this organisation stays what it is."""
        standing = self.current[control.organisation]
        if standing is self.standings.organisations[control.organisation]:
            standing = deepcopy(standing, {id(each): each for each in (standing.policy, standing.roster)})
            self.current[control.organisation] = standing
        apply(instruction, standing, control.at)
