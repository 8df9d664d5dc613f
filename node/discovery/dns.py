"""Names: every address behind `host:port`, and SRV records behind a service name.

A Kubernetes headless service and a round-robin name have several A or AAAA records;
`_collect-node._tcp.example.org` has SRV records with ports of their own. Each is asked for anew at every
resolution, since both change.
"""

import asyncio
import socket
from typing import TYPE_CHECKING

from node.transport.addresses import BadAddress, join, split

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

MAX_ADDRESSES = 256
LIFETIME = 5.0  # seconds for one question


class Unresolved(Exception):
    """No address is behind a name now; the message names it and says why."""


async def resolve(entry: str, resolver: "Resolver | None" = None) -> list[str]:
    """Numeric `host:port` addresses behind `host:port`, or behind a service name `_service._proto.domain`.

    Sorted, at most 256. Raises Unresolved when the name, or every target of the service, is unknown or no server
    answers; BadAddress for what is neither.
    """
    targets = await _services(entry, resolver) if entry.startswith("_") else [split(entry)]
    answers = await asyncio.gather(*(_hosts(*target) for target in targets), return_exceptions=True)
    found, failure = set[str](), Unresolved(f"{entry} has no target")
    for answer in answers:
        if isinstance(answer, Unresolved):
            failure = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.update(answer)
    if not found:
        raise failure
    return sorted(found)[:MAX_ADDRESSES]


def check(entry: str) -> None:
    """Raises BadAddress for what is neither `host:port` nor a service name."""
    if entry.startswith("_"):
        if len(entry.split(".")) < 3 or ":" in entry:
            raise BadAddress(f"{entry!r} is no service name: expected _service._proto.domain")
        return
    split(entry)


async def _services(name: str, resolver: "Resolver | None") -> list[tuple[str, int]]:
    """Raises Unresolved."""
    import dns.asyncresolver
    import dns.exception
    import dns.rdatatype
    import dns.rdtypes.IN.SRV

    try:
        resolver = resolver or dns.asyncresolver.Resolver()
        answer = await resolver.resolve(name, dns.rdatatype.SRV, lifetime=LIFETIME)
    except dns.exception.DNSException as error:
        raise Unresolved(f"{name} does not resolve: {type(error).__name__}") from error
    records = [record for record in answer if isinstance(record, dns.rdtypes.IN.SRV.SRV)]
    records.sort(key=lambda record: (record.priority, -record.weight, str(record.target)))
    return [(record.target.to_text(omit_final_dot=True), record.port) for record in records]


async def _hosts(host: str, port: int) -> list[str]:
    """Raises Unresolved."""
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a name that no DNS can have is a UnicodeError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unresolved(f"{host} does not resolve: {reason}") from error
    return [join(str(answer[4][0]), port) for answer in answers]
