"""Where a real node says that it listens."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


async def told_address(tmp_path: Path, http: str, mesh: str, **environ: str) -> str:
    """The line `http  URL` of a node that is started and stopped."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node", "--data-dir", str(tmp_path / "data"), "--http", http, "--mesh", mesh, "--no-mdns",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, **environ},
    )  # fmt: skip
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(60):
            while not said.startswith(b"http "):
                said = await process.stdout.readline()
                assert said, "it has ended"
                assert b"collect-node:" not in said, said
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
    return said.decode().split()[1]


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_loopback_of_ipv6_is_loopback(tmp_path: Path) -> None:
    """It was refused, as an address that can be reached from elsewhere."""
    assert (await told_address(tmp_path, "[::1]:0", "[::1]:0")).startswith("http://[::1]:")


async def test_a_wildcard_is_told_as_an_address_that_others_can_dial(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)
    environ = {"COLLECT_HTTP__TOKEN_FILE": str(token), "COLLECT_HTTP__INSECURE": "true"}
    told = await told_address(tmp_path, "0.0.0.0:0", "127.0.0.1:0", **environ)
    assert told.startswith("http://")
    assert "0.0.0.0" not in told
