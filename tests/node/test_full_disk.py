"""What is said, and what is refused, while a node's disk is full: just when somebody wants to drain it."""

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gossip.identity import Boot, NodeId
from node import connection, drain, standing
from node.background import Background
from node.core import Core
from node.data_directory import DataDirectory
from node.drain import Drain
from node.membership import Membership
from node.presence import Presence
from node.security.keyring import KeyRing
from node.security.roster import Roster
from node.service import Refused
from node.serving.admission import MeshAdmission
from node.serving.driver import Driver


def core() -> Core:
    """Two live members: this one is not alone."""
    other = SimpleNamespace(meta=SimpleNamespace(weight=1.0))
    ownership = SimpleNamespace(members={"b": other}, live=lambda: {"a", "b"})
    return cast(Core, SimpleNamespace(me="a", ownership=ownership, custody=SimpleNamespace(draining=False)))


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_drain_that_the_disk_does_not_take_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a failure of the node, with a traceback."""
    monkeypatch.setattr(drain, "replace", full)
    wish = Drain(tmp_path, core(), lambda: pytest.fail("nothing has changed"))
    with pytest.raises(
        Refused, match=r"No space left on device.*nothing was changed: free some space"
    ) as caught:
        wish.order(wanted=True)
    assert caught.value.problem.status == 507
    assert not wish.wanted


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device below /data"),
        (
            OSError("archive.sqlite: database or disk is full"),
            "archive.sqlite: database or disk is full below /data",
        ),
    ],
)
def test_why_the_log_cannot_grow_is_said(error: OSError, said: str) -> None:
    """SQLite's errors have no number: it said "None below /data"."""
    presence = Presence.__new__(Presence)
    presence._driver = cast(Driver, SimpleNamespace(stalled=error))
    presence._data = cast(DataDirectory, SimpleNamespace(path=Path("/data")))
    assert presence.obstacle() == said


def test_a_data_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    """It ended the part that looks after the node's fitness, and each submit was a failure of the node."""
    data = DataDirectory(tmp_path / "data")
    presence = Presence.__new__(Presence)
    presence._driver = cast(Driver, SimpleNamespace(stalled=None))
    presence._data = data
    assert presence.obstacle() is None
    shutil.rmtree(data.path)
    assert presence.obstacle() == f"No such file or directory below {data.path}"
    data.close()


async def test_a_part_that_fails_is_told_and_one_that_ends_is_not() -> None:
    async def ends() -> None:
        return

    async def fails() -> None:
        raise OSError(5, "Input/output error")

    background = Background()
    with capture_logs() as told:
        for part in (ends(), fails(), asyncio.sleep(3600)):
            background.run(part)
        await asyncio.sleep(0)
        await background.stop()
    assert [(each["log_level"], "Input/output error" in each["error"]) for each in told] == [
        ("critical", True)
    ]
    assert "fails" in told[0]["part"]


def test_a_node_with_a_later_life_stops_though_its_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []
    monkeypatch.setattr(standing, "raise_boot", full)
    monkeypatch.setattr("os.kill", lambda _, number: stopped.append(number))
    outlived = cast(Core, SimpleNamespace(replicator=SimpleNamespace(outlived=True), boot=Boot(7)))
    here = standing.Standing(outlived, tmp_path)
    assert here.lost(joining=False)
    assert here.failure is not None
    assert "a later life of this node" in here.failure
    assert len(stopped) == 1


async def test_a_rotation_that_the_disk_does_not_take_is_not_to_be_sent_again() -> None:
    """With 503 the client did so, and the key was rotated three times."""

    async def keep(_: Any) -> None:
        full()

    admission = MeshAdmission(NodeId("a"), cast(Roster, None), cast(KeyRing, None))
    admission.membership = cast(Membership, SimpleNamespace(alive=True, keep=keep))
    with pytest.raises(Refused, match=r"acts on it, but .*: No space left") as caught:
        await admission.rotate()
    assert caught.value.problem.status not in connection.NEXT_NODE
    assert caught.value.problem.state_changed
