"""The TLS side of HTTP: a context from the configured files, and from their successors once they are renewed."""

import asyncio
import logging
import ssl
from pathlib import Path

EVERY = 5.0
"""Seconds between two looks at the files."""

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Device, inode, time of the last change (ns) of a file. Links are followed: a renewal may replace a link."""
GONE: Stamp = (0, 0, 0)


class TlsError(ValueError):
    """Certificate or key cannot be used; the message names the file and the reason."""


class Certificate:
    """Chain and key (PEM) of the API. Raises TlsError where they cannot be used at the start.

    `context` is for the server; each handshake takes the newest pair that could be loaded, and connections that
    are open keep theirs.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._seen = self._stamp()
        self.context = self._newest = load_tls(cert, key)
        self.context.sni_callback = self._hand_over

    async def follow(self) -> None:
        """Look at the files for as long as the node runs."""
        while True:
            await asyncio.sleep(EVERY)
            self.look()

    def look(self) -> None:
        """Take the files if they have changed; the old pair stays where the new one cannot be used."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._newest = load_tls(self._cert, self._key)
        except TlsError as error:
            log.warning("%s; the API goes on with the certificate that it had", error)
        else:
            log.info("new connections to the API use the renewed certificate %s", self._cert)

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _stamp(self) -> tuple[Stamp, Stamp]:
        return _stamp(self._cert), _stamp(self._key)


def load_tls(cert: Path, key: Path) -> ssl.SSLContext:
    """A server context with this chain and key (PEM), TLS 1.2 or later. Raises TlsError."""
    for name, path in (("http.tls_cert", cert), ("http.tls_key", key)):
        if _stamp(path) == GONE:
            raise TlsError(f"{name}: there is no file {str(path)!r}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsError(f"http.tls_cert {str(cert)!r} with http.tls_key {str(key)!r}: {error}") from None
    return context


def _stamp(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError:
        return GONE
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one without a passphrase, readable by the node alone")
