"""Names: every address behind `host:port`, and SRV records behind a service name.

A Kubernetes headless service and a round-robin name have several A or AAAA records;
`_collect-node._tcp.example.org` has SRV records with ports of their own. Each is asked for anew at every
resolution, since both change.
"""

import asyncio
import socket
from typing import TYPE_CHECKING

from structlog import get_logger

from node.transport.addresses import BadAddress, join, split

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

MAX_ADDRESSES = 256
LIFETIME = 5.0  # seconds for one question

log = get_logger(__name__)


async def resolve(entry: str, resolver: "Resolver | None" = None) -> list[str]:
    """Numeric `host:port` addresses behind `host:port`, or behind a service name `_service._proto.domain`.

    Sorted, at most 256; empty (and logged) when the name is unknown or no server answers. Raises BadAddress
    for what is neither.
    """
    if entry.startswith("_"):
        targets = await _services(entry, resolver)
    else:
        targets = [split(entry)]
    found: set[str] = set()
    for host, port in targets:
        found.update(await _hosts(host, port))
    return sorted(found)[:MAX_ADDRESSES]


def check(entry: str) -> None:
    """Raises BadAddress for what is neither `host:port` nor a service name."""
    if entry.startswith("_"):
        if len(entry.split(".")) < 3 or ":" in entry:
            raise BadAddress(f"{entry!r} is no service name: expected _service._proto.domain")
        return
    split(entry)


async def _services(name: str, resolver: "Resolver | None") -> list[tuple[str, int]]:
    import dns.asyncresolver
    import dns.exception
    import dns.rdatatype
    import dns.rdtypes.IN.SRV

    resolver = resolver or dns.asyncresolver.Resolver()
    try:
        answer = await resolver.resolve(name, dns.rdatatype.SRV, lifetime=LIFETIME)
    except dns.exception.DNSException as error:
        log.warning("service name does not resolve", name=name, error=str(error))
        return []
    records = [record for record in answer if isinstance(record, dns.rdtypes.IN.SRV.SRV)]
    records.sort(key=lambda record: (record.priority, -record.weight, str(record.target)))
    return [(record.target.to_text(omit_final_dot=True), record.port) for record in records]


async def _hosts(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        log.warning("name does not resolve", name=host, error=error.strerror)
        return []
    return [join(str(answer[4][0]), port) for answer in answers]
