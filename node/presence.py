"""What this node says of itself: its facts, whether it is ready, and whether it takes anything new."""

from gossip.member import Meta
from node import messages
from node.api.problems import refuse
from node.config import Config
from node.core import Core
from node.data_directory import DataDirectory
from node.execution.roots import FolderRoots, fingerprint, shared_fingerprint
from node.execution.secrets import Secrets
from node.service import Facts
from node.serving.driver import Driver
from plugins.registry import Registry


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
        )

    def spec_facts(self) -> Facts:
        """What the validation of a spec needs to know of this node and the mesh."""
        known = self._core.steward.leasing.facts
        live = self._core.ownership.live()
        present = {secret for node, facts in known.items() if node in live for secret in facts.secrets}
        members = self._core.ownership.members
        return Facts(
            roots={name: shared for name, (shared, _) in self._known.items()},
            folders={name: str(folder) for name, folder in self._roots.folders().items()},
            secrets=frozenset(present | set(self._secrets.names())),
            nodes=frozenset([*live, *(members[node].meta.name for node in live)]),
            replicas=min(len(live), self._config.state.replicas),
            voters=min(self._core.leases.maps.size, self._config.state.replicas),
        )

    def meta(self) -> Meta:
        """What gossip tells of this node."""
        node = self._config.node
        return Meta(
            name=node.name,
            region=node.region,
            zone=node.zone,
            weight=node.weight,
            version=self._version,
            ready=self.able,
            http=self.url,
        )

    @property
    def able(self) -> bool:
        """Whether this node may own slots: it knows what its peers know, and can write its log."""
        return self.compared and self.obstacle() is None

    def obstacle(self) -> str | None:
        """Why the log cannot grow now."""
        stalled = self._driver.stalled
        if stalled is not None:
            return f"{stalled.strerror} below {self._data.path}"
        free = self._data.free()
        if free < self._data.reserve:
            return f"only {free >> 20} MiB are free below {self._data.path}"
        return None

    def readiness(self) -> tuple[bool, list[str]]:
        reasons = [] if self.compared else ["this node is comparing its state with its peers"]
        obstacle = self.obstacle()
        if obstacle is not None:
            reasons.append(obstacle)
        return not reasons, reasons

    def check_intake(self) -> None:
        """Raises Refused 507 while the disk has no room."""
        obstacle = self.obstacle()
        if obstacle is not None:
            name = self._config.node.name
            remedy = "free some space, or ask another node"
            refused = refuse(507, "disk-full", f"node {name} takes nothing new: {obstacle}; {remedy}")
            refused.retry_after = 5.0
            raise refused
