"""The timing of membership: one frozen set of numbers and three profiles."""

import math
from typing import Self

import msgspec

from gossip.errors import BadConfig


class SwimConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All times in seconds. The defaults are memberlist's (config.go, DefaultLANConfig) where it has one.

    probe_interval: a ping this often; it is judged at the end. Larger: less traffic, later detection.
    probe_timeout: a direct answer later than this is asked for through others. Below the probe interval.
    indirect_probes: how many others are asked. Larger: fewer false suspicions under loss, more traffic then.
    nack_share: a helper says within this share of the timeout that it has no answer (Lifeguard: 0.8).
    gossip_interval, gossip_fanout: while there is news, so many members are told so often.
    suspicion_mult: a confirmed suspicion lasts mult * max(1, log10 n) probe intervals.
    suspicion_max_mult: one without confirmations lasts so many times as long. Larger: fewer false deaths,
        later detection.
    retransmit_mult: each piece of news is sent mult * ceil(log10(n + 1)) times.
    sync_interval: a push-pull with one other this often up to 32 members, less often above.
    gossip_to_dead: a dead member is still told the news for so long, so that it can refute.
    reconnect_interval: with probability dead/alive, a push-pull with one dead member this often, sooner in small
        meshes; also the longest pause between two tries of a contact that was never met.
    leave_timeout: a leave that could not be spread ends after this.
    retention: dead and left members, and contacts, are remembered for so long.
    awareness_max: local health is 0 .. max - 1; the time given to a probe grows with it.
    """

    probe_interval: float = 1.0
    probe_timeout: float = 0.5
    indirect_probes: int = 3
    nack_share: float = 0.8
    gossip_interval: float = 0.2
    gossip_fanout: int = 3
    suspicion_mult: int = 4
    suspicion_max_mult: int = 6
    retransmit_mult: int = 4
    sync_interval: float = 30.0
    gossip_to_dead: float = 30.0
    reconnect_interval: float = 30.0
    leave_timeout: float = 2.0
    retention: float = 86_400.0
    awareness_max: int = 8

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise BadConfig(f"gossip.{name} is {getattr(self, name)}; it must be greater than 0")
        if self.probe_timeout >= self.probe_interval:
            raise BadConfig(
                f"gossip.probe_timeout is {self.probe_timeout} s; "
                f"it must be below probe_interval, {self.probe_interval} s"
            )

    @classmethod
    def lan(cls) -> Self:
        """One region, 0.1 to 10 ms apart."""
        return cls()

    @classmethod
    def wan(cls) -> Self:
        """Gateways of regions, 20 to 200 ms apart (DefaultWANConfig)."""
        return cls(
            probe_interval=5.0,
            probe_timeout=3.0,
            gossip_interval=0.5,
            gossip_fanout=4,
            suspicion_mult=6,
            sync_interval=60.0,
            gossip_to_dead=60.0,
            reconnect_interval=60.0,
            leave_timeout=5.0,
        )

    @classmethod
    def local(cls) -> Self:
        """Tests and meshes on one host: a death is known in about a second."""
        return cls(
            probe_interval=0.2,
            probe_timeout=0.1,
            gossip_interval=0.05,
            suspicion_mult=3,
            sync_interval=5.0,
            gossip_to_dead=5.0,
            reconnect_interval=3.0,
            leave_timeout=1.0,
        )

    def suspicion_bounds(self, n: int) -> tuple[float, float]:
        """Least and greatest duration of a suspicion among n live members, in seconds."""
        least = self.suspicion_mult * max(1.0, math.log10(max(1, n))) * self.probe_interval
        return least, least * self.suspicion_max_mult

    def confirmations(self, n: int) -> int:
        """How many accusers beside the first bring a suspicion
        to its least duration; 0 where too few could.
        """
        wanted = max(0, self.suspicion_mult - 2)
        return 0 if n - 2 < wanted else wanted

    def retransmits(self, n: int) -> int:
        """How often one piece of news is sent among n live members."""
        return self.retransmit_mult * math.ceil(math.log10(n + 1))

    def sync_pause(self, n: int) -> float:
        """Seconds between two push-pulls among n live members (memberlist, pushPullScale)."""
        return self.sync_interval * (math.ceil(math.log2(n) - 5) + 1 if n > 32 else 1)
