"""Who goes when one node key is used twice."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from gossip.effects import Conflict
from gossip.identity import Boot, NodeId
from node.core import Core
from node.security.keys import BOOT_FILE
from node.standing import Standing

ME = NodeId("a" * 16)
LOW, HIGH = "10.0.0.3:8701", "10.0.0.9:8701"


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that the node sent itself."""
    signals: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, number: signals.append(number))
    return signals


def standing(folder: Path) -> Standing:
    return Standing(cast(Core, SimpleNamespace(me=ME, boot=Boot(7))), folder)


def test_an_earlier_life_goes_whatever_its_address(tmp_path: Path, stopped: list[int]) -> None:
    here = standing(tmp_path)
    here.conflict(Conflict(ME, (LOW, HIGH), Boot(9)))
    assert "a later life of this node (boot 9)" in (here.failure or "")
    assert len(stopped) == 1
    assert int((tmp_path / BOOT_FILE).read_text()) == 10


def test_the_double_of_another_is_told_and_no_more(tmp_path: Path, stopped: list[int]) -> None:
    here = standing(tmp_path)
    with capture_logs() as told:
        here.conflict(Conflict(NodeId("b" * 16), (HIGH, LOW), Boot(7)))
        here.conflict(Conflict(ME, (HIGH, LOW), Boot(7)))  # one member can make this up
    assert [each["log_level"] for each in told] == ["error", "error"]
    assert here.failure is None
    assert stopped == []
