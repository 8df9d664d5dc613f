"""A node whose address is not what others were told says so."""

import pytest
from structlog.testing import capture_logs

from node.whereabouts import Whereabouts


def looked(where: Whereabouts, *addresses: str, times: int = 2) -> str | None:
    for _ in range(times):
        where.look(addresses)
    return where.warning


def test_a_node_that_was_started_before_its_network_says_so_once() -> None:
    where = Whereabouts("127.0.0.1:8701", bind="0.0.0.0", advertise=False)
    assert looked(where, "127.0.0.1", "::1") is None
    with capture_logs() as told:
        assert looked(where, "127.0.0.1", "10.0.0.5", times=1) is None
        said = looked(where, "127.0.0.1", "10.0.0.5", times=5)
    assert said is not None
    assert "at 127.0.0.1, but the addresses of its host are 10.0.0.5 now: start it again" in said
    assert len(told) == 1


@pytest.mark.parametrize("bind", ["0.0.0.0", "10.0.0.5", "::"])
def test_a_host_that_got_another_address(bind: str) -> None:
    where = Whereabouts("10.0.0.5:8701", bind=bind, advertise=False)
    assert looked(where, "127.0.0.1", "10.0.0.5", "172.17.0.1") is None
    assert "mesh.advertise" in (looked(where, "127.0.0.1", "10.0.0.6") or "")
    assert looked(where, "127.0.0.1", "10.0.0.5") is None


def test_an_address_that_is_renewed_is_no_change() -> None:
    where = Whereabouts("10.0.0.5:8701", bind="0.0.0.0", advertise=False)
    for _ in range(3):
        assert looked(where, "127.0.0.1", "10.0.0.6", times=1) is None
        assert looked(where, "127.0.0.1", "10.0.0.5", times=1) is None


@pytest.mark.parametrize(
    ("told", "bind", "advertise"),
    [
        ("203.0.113.9:8701", "0.0.0.0", True),
        ("127.0.0.1:8701", "127.0.0.1", False),
        ("node-1.example.org:8701", "node-1.example.org", False),
    ],
)
def test_what_the_operator_said_is_not_doubted(told: str, bind: str, advertise: bool) -> None:
    assert looked(Whereabouts(told, bind=bind, advertise=advertise), "127.0.0.1", "10.0.0.5") is None
