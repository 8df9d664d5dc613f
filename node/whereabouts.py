"""Whether the address that others were told to dial is one of this host's, and what a person is told if it is not.

The address is found when the node starts, and stays for this life of it. A node that was started before its network
was up tells others its loopback address; one whose host got another address tells them one that is nobody's. It can
dial out all the same, but nobody reaches it.
"""

import ipaddress
import socket
from collections.abc import Sequence

from structlog import get_logger

from node.transport.addresses import local_addresses, split

NAMED = 4
"""Addresses that are named; more helps nobody."""

log = get_logger(__name__)


class Whereabouts:
    """`told`: what others dial, `host:port`; `bind`: the host of `mesh.bind`; `advertise`: whether that was said.

    `warning`: None while there is nothing to say. An address that the operator said is never doubted.
    """

    def __init__(self, told: str, *, bind: str, advertise: bool) -> None:
        self._told = _address(split(told)[0])
        bound = _address(bind)
        self._watched = self._told is not None and not advertise and not (bound and bound.is_loopback)
        self._before: str | None = None
        self.warning: str | None = None

    def look(self, addresses: Sequence[str] | None = None) -> None:
        """Every few seconds. `addresses`: of this host, found if they are not given."""
        if not self._watched:
            return
        found = local_addresses(socket.AF_INET, socket.AF_INET6) if addresses is None else addresses
        seen = self._judge([each for each in map(_address, found) if each is not None])
        said, self.warning = self.warning, seen if seen == self._before else self.warning
        self._before = seen  # believed when it is seen twice: an address may be renewed
        if self.warning and self.warning != said:
            log.warning(self.warning)

    def _judge(self, own: Sequence[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> str | None:
        others = [str(each) for each in own if not each.is_loopback]
        if not others or (self._told in own and str(self._told) in others):
            return None
        return (
            f"others are told to reach this node at {self._told}, but the addresses of its host are "
            f"{', '.join(others[:NAMED])} now: start it again, or set mesh.advertise"
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a name, and for an address that is of use on one link only."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if isinstance(found, ipaddress.IPv6Address) and found.scope_id else found
