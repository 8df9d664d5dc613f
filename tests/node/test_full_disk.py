"""What is said, and what is refused, while a node's disk is full: just when somebody wants to drain it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gossip.identity import NodeId
from node import connection, drain
from node.core import Core
from node.drain import Drain
from node.membership import Membership
from node.presence import Presence
from node.security.keyring import KeyRing
from node.security.roster import Roster
from node.service import Refused
from node.serving.admission import MeshAdmission


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
    presence = SimpleNamespace(
        _driver=SimpleNamespace(stalled=error), _data=SimpleNamespace(path=Path("/data"))
    )
    assert Presence.obstacle(cast(Presence, presence)) == said


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
