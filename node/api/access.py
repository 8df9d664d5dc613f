"""Who may speak to the API.

Without a token the API is open, but only on loopback: the request must name a loopback host (a page
elsewhere that points its own name at 127.0.0.1 cannot), and what has a body must say a JSON content type (a
plain form of a page elsewhere cannot; before a DELETE a browser asks, and gets no leave). With a token every
operation but the probes needs it. Off loopback HTTP needs the token, and TLS or the word of the operator that
something else encrypts.
"""

import dataclasses
import hmac
import logging
import re
from pathlib import Path

from aiohttp import web

from node.api.hosts import host_of, is_loopback
from node.api.problems import refuse
from node.api.route import JSON, NDJSON

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
BODIED = frozenset({"POST", "PUT", "PATCH"})
_TOKEN = re.compile(r"[\x21-\x7e]+")

log = logging.getLogger(__name__)


class ExposureError(ValueError):
    """The node must not serve HTTP like this; the message says why and what to set."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """`token`: None for open on loopback. `allowed_hosts`: further values of Host that are this node."""

    token: str | None = dataclasses.field(default=None, repr=False)
    allowed_hosts: frozenset[str] = frozenset()


def check_exposure(bind: str, *, token: str | None, tls: bool, insecure: bool) -> None:
    """Raise ExposureError unless HTTP may be served at `bind` ("host:port")."""
    if is_loopback(host_of(bind)):
        return
    if not token:
        raise ExposureError(
            f"http.bind = {bind!r} can be reached from elsewhere, and no token is set: set http.token_file, "
            "or bind to 127.0.0.1"
        )
    if not tls and not insecure:
        raise ExposureError(
            f"http.bind = {bind!r} can be reached from elsewhere, and the token would travel in clear: set "
            "http.tls_cert and http.tls_key, or http.insecure = true where something else encrypts"
        )


def read_token(path: Path) -> str:
    """The bearer token in a file of one line. Raises ExposureError for what nobody could send, or anybody could."""
    try:
        text = path.read_text("ascii").strip()
    except OSError as error:
        raise ExposureError(f"http.token_file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not _TOKEN.fullmatch(text):
        raise ExposureError(
            f"http.token_file {path} holds no token: one line of visible ASCII characters without a space; "
            f"`openssl rand -hex 32 > {path}` makes one"
        )
    if path.stat().st_mode & 0o007:
        log.warning("others can read the token of the API: chmod 600 %s", path)
    return text


def check_access(request: web.Request, access: Access) -> None:
    """Raise a refusal unless the request may go on."""
    if request.path in OPEN_PATHS:
        return
    if access.token is not None:
        _check_token(request, access.token)
    else:
        _check_local(request, access)


def _check_token(request: web.Request, token: str) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    sound = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not sound:
        raise refuse(401, "unauthorized", "this node needs a token: Authorization: Bearer TOKEN")


def _check_local(request: web.Request, access: Access) -> None:
    host = host_of(request.headers.get("Host", ""))
    if not is_loopback(host) and host not in access.allowed_hosts:
        raise refuse(421, "wrong-host", "without a token this node answers to a loopback Host only")
    origin = request.headers.get("Origin")
    if origin is not None and not is_loopback(host_of(origin.partition("://")[2])):
        raise refuse(403, "wrong-origin", "without a token this node serves no page of another origin")
    if request.method in BODIED and request.content_type not in (JSON, NDJSON):
        raise refuse(415, "media-type", f"a write needs Content-Type: {JSON} (or {NDJSON})")
