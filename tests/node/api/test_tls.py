"""HTTP under TLS, with files that are renewed while the node serves."""

import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from node.api.tls import Certificate, TlsError, load_tls
from node.client import Client, Unreachable
from tests.node.api.conftest import Server, serve

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificates with openssl"
)


class Pair(NamedTuple):
    cert: Path
    key: Path


def issue(folder: Path) -> Pair:
    """A new key and its own certificate for localhost, in new files."""
    folder.mkdir()
    pair = Pair(folder / "cert.pem", folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=a"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *names, "-keyout", str(pair.key), "-out", str(pair.cert)],
        check=True,
        capture_output=True,
    )
    return pair


class Served(NamedTuple):
    """files: what the server was told to use. first, second: pairs to put there."""

    server: Server
    certificate: Certificate
    files: Pair
    first: Pair
    second: Pair

    def put(self, cert: Path, key: Path) -> None:
        for source, target in zip((cert, key), self.files, strict=True):
            shutil.copy(source, target.with_suffix(".new"))
            target.with_suffix(".new").replace(target)

    async def shows(self, pair: Pair) -> bool:
        """Whether a new connection gets this certificate."""
        async with Client([self.server.url], tls=ssl.create_default_context(cafile=pair.cert)) as client:
            try:
                return (await client.cluster()).node == "a1"
            except Unreachable as error:
                if "certificate" not in str(error):
                    raise
                return False


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    first, second = issue(tmp_path / "first"), issue(tmp_path / "second")
    files = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    for source, target in zip(first, files, strict=True):
        shutil.copy(source, target)
    certificate = Certificate(*files)
    server = await serve(tls=certificate.context)
    yield Served(server, certificate, files, first, second)
    await server.stop()


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with pytest.raises(TlsError, match="tls_cert: there is no file"):
        load_tls(cert, key)
    cert.write_text("no certificate")
    key.write_text("no key")
    with pytest.raises(TlsError, match=r"cert\.pem"):
        load_tls(cert, key)


@needs_openssl
async def test_only_who_trusts_the_certificate_talks(served: Served) -> None:
    assert served.server.url.startswith("https")
    assert await served.shows(served.first)
    async with Client([served.server.url]) as client:
        with pytest.raises(Unreachable, match="SSL_CERT_FILE"):
            await client.cluster()


@needs_openssl
async def test_a_renewed_certificate_is_for_new_connections(served: Served) -> None:
    trust = ssl.create_default_context(cafile=served.first.cert)
    async with Client([served.server.url], tls=trust) as opened:
        await opened.cluster()
        served.put(*served.second)
        assert await served.shows(served.first), "nobody has looked yet"
        served.certificate.look()
        assert await served.shows(served.second)
        assert not await served.shows(served.first)
        assert (await opened.cluster()).node == "a1", "what is open stays open"


@needs_openssl
async def test_half_a_renewal_leaves_the_old_pair(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        served.put(served.second.cert, served.first.key)
        served.certificate.look()
        served.certificate.look()
    assert [str(served.files.cert) in record.getMessage() for record in caplog.records] == [True]
    assert await served.shows(served.first)
    served.put(*served.second)
    served.certificate.look()
    assert await served.shows(served.second)


@needs_openssl
async def test_files_that_are_gone_leave_the_old_pair(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        served.files.key.unlink()
        served.certificate.look()
    assert "tls_key: there is no file" in caplog.text
    assert await served.shows(served.first)
    served.put(*served.first)
    served.certificate.look()
    assert await served.shows(served.first)
