"""The TLS side of HTTP: a context from the configured files."""

import ssl
from pathlib import Path


class TlsError(ValueError):
    """Certificate or key cannot be used; the message names the file and the reason."""


def load_tls(cert: Path, key: Path) -> ssl.SSLContext:
    """A server context with this chain and key (PEM), TLS 1.2 or later. Raises TlsError."""
    for name, path in (("http.tls_cert", cert), ("http.tls_key", key)):
        if not path.is_file():
            raise TlsError(f"{name}: there is no file {str(path)!r}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsError(f"http.tls_cert {str(cert)!r} with http.tls_key {str(key)!r}: {error}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one without a passphrase, readable by the node alone")
