"""Whether this node may stay in the mesh; when not, it stops by itself and says why."""

import os
import signal
from pathlib import Path

from structlog import get_logger

from gossip.effects import Conflict
from gossip.identity import Boot
from gossip.versions import strangers
from node.core import Core
from node.security.keys import BadKey, raise_boot

log = get_logger(__name__)


class Standing:
    """`failure`: why this node stopped by itself."""

    def __init__(self, core: Core, data_dir: Path) -> None:
        self._core, self._data_dir = core, data_dir
        self.failure: str | None = None

    def lost(self, *, joining: bool) -> bool:
        """Whether this node has to go. `joining`: of two that cannot speak with each other the newcomer goes."""
        if self._core.replicator.outlived:
            self._outlived(self._core.boot)
        elif joining:
            others = sorted(self._core.ownership.live() - {self._core.me})
            apart = strangers(self._core.ownership.members[node].meta for node in others)
            if apart:
                self._fail(
                    f"no common protocol with the mesh: {apart[0]}; go over a version that speaks both"
                )
        return self.failure is not None

    def conflict(self, conflict: Conflict) -> None:
        """Somebody else has our key, or had it."""
        if conflict.id == self._core.me and conflict.boot > self._core.boot:
            self._outlived(conflict.boot)
        else:
            log.error(
                "one node key is used twice; each node needs its own data directory", conflict=repr(conflict)
            )

    def _outlived(self, used: Boot) -> None:
        """Go before more is written under a boot that is used."""
        self._keep_boot(used)
        self._fail(
            f"the mesh knows a later life of this node (boot {used}): its data directory was restored from a "
            "backup while its clock is behind, or another node runs with a copy of it. This node has stopped; "
            "correct the clock, stop the copy, and start it again"
        )

    def _keep_boot(self, used: Boot) -> None:
        """The next start is above it."""
        if self.failure is None:
            try:
                raise_boot(self._data_dir, used)
            except (OSError, BadKey) as error:
                log.error("the boot cannot be kept; the next start needs a right clock", error=str(error))

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
            log.critical(why)
            os.kill(os.getpid(), signal.SIGTERM)
