"""A node that has met nobody says so, once and with what to do."""

import pytest
from structlog.testing import capture_logs

from node.solitude import ALONE_AFTER, Solitude

WHY = {"10.0.0.9:8703": "10.0.0.9:8703 does not answer"}


def test_a_node_whose_seed_is_wrong_says_so_once() -> None:
    solitude = Solitude(100.0, names=[], asked=["10.0.0.9:8701"])
    with capture_logs() as told:
        for second in range(30):
            solitude.look(100.0 + second, others=0, why=WHY)
            assert (solitude.warning is not None) == (second >= ALONE_AFTER)
    assert len(told) == 1
    assert solitude.warning is not None
    assert "no other member since it started: 10.0.0.9:8703 does not answer" in solitude.warning
    assert "--seed HOST:PORT" in solitude.warning


def test_a_member_whose_peers_have_moved_names_them() -> None:
    solitude = Solitude(0.0, names=["b", "c", "d", "e"], asked=[])
    solitude.look(ALONE_AFTER, others=0, why={})
    assert solitude.warning is not None
    assert "none of the other members (b, c, d, ...) since it started." in solitude.warning


def test_who_has_met_somebody_is_not_alone_when_all_others_die() -> None:
    solitude = Solitude(0.0, names=["b"], asked=[])
    for second, others in ((ALONE_AFTER, 0), (ALONE_AFTER + 1, 1), (ALONE_AFTER + 2, 0)):
        solitude.look(second, others=others, why={})
        assert (solitude.warning is not None) == (second == ALONE_AFTER)


@pytest.mark.parametrize("second", [0.0, ALONE_AFTER, 1000.0])
def test_the_first_node_of_a_mesh_expects_nobody(second: float) -> None:
    solitude = Solitude(0.0, names=[], asked=[])
    solitude.look(second, others=0, why={})
    assert solitude.warning is None


def test_who_was_taken_in_and_is_never_reached_says_so() -> None:
    """Also a node that expected nobody, ten seconds after it was taken in."""
    solitude = Solitude(0.0, names=[], asked=[], address="10.0.0.5:8701")
    solitude.look(100.0, others=0, why={})
    for second in (100.0, 100.0 + ALONE_AFTER - 1):
        solitude.look(second, others=0, why={}, welcomed="10.0.0.1:8703")
        assert solitude.warning is None
        assert not solitude.met
    solitude.look(100.0 + ALONE_AFTER, others=0, why=WHY, welcomed="10.0.0.1:8703")
    assert solitude.warning is not None
    assert solitude.warning.startswith(
        "10.0.0.1:8703 has taken this node in, but no member reaches it at 10.0."
    )
    assert "mesh.advertise" in solitude.warning
    solitude.look(120.0, others=1, why={}, welcomed="10.0.0.1:8703")
    assert solitude.warning is None


def test_whom_the_others_turn_away_is_told_once_that_it_was_revoked_and_what_to_do() -> None:
    """It only saw them die, and a key that is wrong; it worked alone as if it were the whole mesh."""
    solitude = Solitude(0.0, names=["b", "c"], asked=[])
    solitude.look(1.0, others=2, why={}, refusing=["b"])
    assert solitude.warning is None, "its key is still on the way to b"
    with capture_logs() as told:
        for second in range(30):
            solitude.look(2.0 + second, others=0, why={}, refusing=["b", "c"])
            assert solitude.warning is not None
            assert solitude.warning.startswith(
                "the other members (b, c) turn this node's key away: it was revoked"
            )
            assert "`collect token readmit-node NAME`" in solitude.warning
    assert len(told) == 1
    solitude.look(60.0, others=1, why={}, refusing=["c"])
    assert solitude.warning is None
