"""Whether a node that should have company has none, and what a person is told of it.

One that has met nobody since its start works: it may be the first of its mesh to come back. But it may as well have
been given a wrong address, or the others have moved, or it was taken in and nobody can dial it; then it would go on
alone, accept tasks, and say that it is ready. One that the others turn away has been revoked, as far as it can tell:
nobody tells it so.
"""

from collections.abc import Mapping, Sequence

from structlog import get_logger

ALONE_AFTER = 10.0
"""Seconds. Nodes that start together, and hellos that are tried again, have met by then."""
NAMED = 3
"""Members and failures that are named; more helps nobody."""
UNREACHED = (
    "It works alone until one does: is a firewall between, or is mesh.advertise (else mesh.bind) not where they can "
    "dial it? Three ports have to be open"
)
REMEDY = (
    "It works alone until it meets one. If their addresses are others by now, start it with "
    "--seed HOST:PORT or --join TOKEN of one that runs"
)
REVOKED = (
    "turn this node's key away: it was revoked (`collect token revoked` on one of them says whether). It works alone. "
    "`collect token readmit-node NAME` on one of them takes it back; else stop it, and give it a new data directory "
    "and a new token to join again"
)

log = get_logger(__name__)


class Solitude:
    """`names`: of the other members on the roster with which it starts; `asked`: addresses that it was given;
    `address`: where it says that others reach it.

    `warning`: None while there is nothing to say. Once it has met somebody there is only where others turn it away.
    """

    def __init__(
        self, began: float, *, names: Sequence[str], asked: Sequence[str], address: str = ""
    ) -> None:
        self._names, self._asked, self._address = names, asked, address
        self._since = began if names or asked else None
        self._met = self._refused = False
        self.warning: str | None = None

    @property
    def met(self) -> bool:
        """Whether it has met somebody, or expects nobody."""
        return self._met or self._since is None

    def look(
        self,
        now: float,
        *,
        others: int,
        why: Mapping[str, str],
        welcomed: str = "",
        refusing: Sequence[str] = (),
    ) -> None:
        """`others`: live ones; `why`: addresses that were tried did not take it; `welcomed`: one that did;
        `refusing`: names of members that turned it away when they were last dialled.
        """
        self._met = self._met or others > 0
        if welcomed and self._since is None:
            self._since = now
        if not others and refusing:
            self._say(f"the other members ({_some(refusing)}) {REVOKED}", anew=not self._refused)
        elif self._met or self._since is None or now - self._since < ALONE_AFTER:
            self.warning = None
        else:
            told = _unreached(welcomed, self._address) if welcomed else _told(self._names, self._asked, why)
            self._say(told, anew=self.warning is None)
        self._refused = not others and bool(refusing)

    def _say(self, warning: str, *, anew: bool) -> None:
        self.warning = warning
        if anew:
            log.warning(warning)


def _unreached(welcomed: str, address: str) -> str:
    return (
        f"{welcomed} has taken this node in, but no member reaches it at {address}, where it says that it is. "
        f"{UNREACHED}"
    )


def _told(names: Sequence[str], asked: Sequence[str], why: Mapping[str, str]) -> str:
    whom = f"none of the other members ({_some(names)})" if names else "no other member"
    reasons = list(why.values()) or ([f"nobody answers at {_some(asked)}"] if asked else [])
    because = f": {'; '.join(reasons[:NAMED])}" if reasons else ""
    return f"this node has met {whom} since it started{because.rstrip('.?')}. {REMEDY}"


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:NAMED]) + (", ..." if len(words) > NAMED else "")
