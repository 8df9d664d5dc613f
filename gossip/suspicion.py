"""How long a suspicion lasts: the more members accuse, the shorter (Lifeguard, section IV-B)."""

import math
from dataclasses import dataclass, field
from typing import Self

from gossip.config import SwimConfig
from gossip.identity import NodeId


@dataclass(slots=True)
class Suspicion:
    """One accusation of one incarnation. accusers: those counted, the first one included. believed: whether
    another member says that it holds the subject dead.
    """

    started: float
    least: float
    greatest: float
    wanted: int
    accusers: list[NodeId] = field(default_factory=list)
    believed: bool = False

    @classmethod
    def start(cls, config: SwimConfig, *, n: int, accuser: NodeId, now: float) -> Self:
        least, greatest = config.suspicion_bounds(n)
        return cls(now, least, greatest, config.confirmations(n), [accuser])

    def confirm(self, accuser: NodeId) -> bool:
        """Whether this accuser is new and still counts; only then is its word worth passing on."""
        if accuser in self.accusers or len(self.accusers) > self.wanted:
            return False
        self.accusers.append(accuser)
        return True

    @property
    def duration(self) -> float:
        """Seconds from the start: greatest - (greatest - least) * ln(C + 1) / ln(K + 1), at least `least`."""
        if self.wanted == 0:
            return self.least
        confirmations = len(self.accusers) - 1
        share = math.log(confirmations + 1) / math.log(self.wanted + 1)
        return max(self.least, self.greatest - (self.greatest - self.least) * share)

    @property
    def due(self) -> float:
        return self.started + self.duration
