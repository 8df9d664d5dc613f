"""What a test may do to this host, found by doing it once: root in a container may often neither mount nor cut."""

import subprocess

import pytest

MOUNTS = ("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp")
_NETWORK = (
    "mount -t tmpfs none /tmp; ip link add one type veth peer name two; ip link add hub type bridge; "
    "ip tuntap add dev three mode tun; nsenter --version; "
    "iptables -w -A INPUT -s 10.0.0.1 -p tcp -j REJECT --reject-with tcp-reset"
)
NETWORKS = ("unshare", "--mount", "--net", "sh", "-ec", _NETWORK)


def _works(command: tuple[str, ...]) -> bool:
    """In namespaces of its own, of which nothing stays."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(
    not _works(MOUNTS), reason="needs root that may mount (with unshare and mount)"
)
needs_networks = pytest.mark.skipif(
    not _works(NETWORKS),
    reason="needs root that may make network namespaces (with ip, iptables, nsenter and unshare)",
)
