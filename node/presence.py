"""What this node says of itself: its facts, whether it is ready, and whether it takes anything new."""

from structlog import get_logger

from gossip.member import LIVE, Meta
from gossip.versions import OLDEST
from node import messages
from node.api.problems import refuse
from node.config import Config
from node.core import Core
from node.data_directory import DataDirectory
from node.execution.roots import FolderRoots, fingerprint, shared_fingerprint
from node.execution.secrets import Secrets
from node.fitness import Cause, Fitness, Lateness, deaf
from node.service import Facts
from node.serving.driver import Driver
from plugins.registry import Registry
from sharding.region import region_of

log = get_logger(__name__)

LOOK = 0.1
"""Seconds between two looks at how the node is."""
LATE = 1.0
LATE_FOR = 5.0
"""A loop that is late by more than a second for five seconds has no business with leases that others wait for."""
DEAF_FOR = 5.0
"""Seconds; what a member says at once to one that is new has come by then."""
BEHIND = 5000
BEHIND_FOR = 3.0
"""So many envelopes, several times what is under way at full load, are lacking for so many seconds."""
REASON_BYTES = 100
"""Of the 512 that gossip allows for all facts."""


class Presence:
    """`url`: of the API, set when it listens. `compared`: this node has compared its state with its peers'."""

    def __init__(
        self,
        config: Config,
        version: str,
        registry: Registry,
        roots: FolderRoots,
        secrets: Secrets,
        core: Core,
        driver: Driver,
        data: DataDirectory,
    ) -> None:
        self._config, self._version, self._registry = config, version, registry
        self._roots, self._secrets = roots, secrets
        self._core, self._driver, self._data = core, driver, data
        self._known = {
            name: (True, shared_fingerprint(folder))
            if config.roots[name].shared
            else (False, fingerprint(folder))
            for name, folder in roots.folders().items()
        }
        self.url = ""
        self.compared = False
        self._fitness, self._lateness = Fitness(), Lateness(LOOK)

    def facts(self) -> messages.Facts:
        """What peers need to know to lease to this node, and to show it."""
        node = self._config.node
        return messages.Facts(
            name=node.name,
            roots=self._known,
            plugins=self._registry.versions(),
            secrets=sorted(self._secrets.names()),
            labels=dict(node.labels),
            http=self.url,
            version=self._version,
            paused=self._core.executor.paused,
            region=node.region,
            zone=node.zone,
            holds=sorted(
                {region_of(at) for at, ledger in self._core.replicator.ledgers.items() if ledger.heads}
            ),
        )

    def spec_facts(self) -> Facts:
        """What the validation of a spec needs to know of this node and the mesh."""
        known = self._core.steward.leasing.facts
        live = self._core.ownership.live()
        present = {secret for node, facts in known.items() if node in live for secret in facts.secrets}
        members = self._core.ownership.members
        regions, voters_in = self._core.ownership.regions.known, self._core.voters_in
        return Facts(
            roots={name: shared for name, (shared, _) in self._known.items()},
            folders={name: str(folder) for name, folder in self._roots.folders().items()},
            secrets=frozenset(present | set(self._secrets.names())),
            nodes=frozenset([*live, *(members[node].meta.name for node in live)]),
            replicas=min(len(live), self._config.state.replicas),
            regions=regions,
            voters=voters_in(self._config.node.region),
            voters_in={region: voters_in(region) for region in regions},
        )

    def meta(self) -> Meta:
        """What gossip tells of this node."""
        node = self._config.node
        return Meta(
            name=node.name,
            region=node.region,
            zone=node.zone,
            weight=0.0 if self._core.custody.draining else node.weight,
            version=self._version,
            ready=self.able,
            http=self.url,
            reason=self._why_not().encode()[:REASON_BYTES].decode(errors="ignore"),
            protocol=self._core.config.protocol,
            oldest=OLDEST,
        )

    @property
    def able(self) -> bool:
        """Whether this node may own slots: it knows what its peers know, and can write its log."""
        return self.compared and not self._fitness.reason

    def _why_not(self) -> str:
        return self._fitness.reason if self.compared else "compares its state with its peers"

    def look(self, now: float, gossip: float) -> Meta:
        """Every `LOOK` seconds: what gossip is to tell now. `gossip`: when something of it last came in."""
        others = [member for member in self._core.ownership.members.values() if member.id != self._core.me]
        alive = [member for member in others if member.state in LIVE]
        fit = 2 * sum(member.meta.ready for member in alive) > len(alive)
        before = self._fitness.reason
        causes = self._causes(now)
        if alive and deaf(now, gossip=gossip, work=self._driver.heard):
            text = "no member reaches its work port, mesh.bind + 1"
            causes.append(Cause("deaf", text, DEAF_FOR, fatal=False))
        reason = self._fitness.look(causes, now, others_fit=fit)
        if reason and not before:
            log.warning("this node gives up its slots", reason=reason)
        elif before and not reason:
            log.info("this node takes slots again")
        return self.meta()

    def _causes(self, now: float) -> list[Cause]:
        """The words stay the same while the cause does: each change is told to the whole mesh."""
        causes = []
        if (disk := self._disk()) is not None:
            causes.append(Cause("disk", disk[0], 0.0, fatal=True))
        late = self._lateness.look(now)
        if late > LATE:
            lasts = 0.0 if late > LATE_FOR else LATE_FOR
            causes.append(Cause("loop", "its loop is late", lasts, fatal=False))
        behind = self._core.arrears.behind(now)
        if behind > BEHIND:
            causes.append(Cause("behind", "is far behind the other replicas", BEHIND_FOR, fatal=False))
        return causes

    def obstacle(self) -> str | None:
        """Why the log cannot grow now."""
        disk = self._disk()
        return None if disk is None else f"{disk[1]} below {self._data.path}"

    def _disk(self) -> tuple[str, str] | None:
        """The same in words that stay as they are, for the mesh, and in figures."""
        stalled = self._driver.stalled
        if stalled is not None:
            reason = str(stalled.strerror or stalled)
            return f"cannot write its log: {reason}", reason
        try:
            free, reserve = self._data.free(), self._data.reserve
        except OSError as error:
            return f"cannot use its data directory: {error.strerror}", str(error.strerror)
        if free < reserve:
            return "its disk is nearly full", f"only {free >> 20} MiB are free"
        return None

    def readiness(self) -> tuple[bool, list[str]]:
        reasons = [] if self.compared else ["this node is comparing its state with its peers"]
        obstacle = self.obstacle() or self._fitness.reason
        if obstacle:
            reasons.append(obstacle)
        return not reasons, reasons

    def check_intake(self) -> None:
        """Raises Refused 507 while the disk has no room."""
        obstacle = self.obstacle()
        if obstacle is not None:
            name = self._config.node.name
            remedy = "mend that (free some space), or ask another node"
            refused = refuse(507, "disk-full", f"node {name} takes nothing new: {obstacle}; {remedy}")
            refused.retry_after = 5.0
            raise refused
