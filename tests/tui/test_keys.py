"""What keys do."""

import msgspec
import pytest

from tests.tui.shapes import shard, snapshot, task
from tui.keys import Control, Quit, press
from tui.terminal import keys
from tui.view import Looking, Snapshot

FOUND = snapshot()


def type_keys(looking: Looking, *names: str, found: Snapshot = FOUND) -> Looking:
    for name in names:
        looking, wish = press(looking, name, found)
        assert wish is None
    return looking


def test_arrows_stay_inside_the_list() -> None:
    assert type_keys(Looking(), "up").cursor == 0
    assert type_keys(Looking(), *["down"] * 9).cursor == 2
    assert type_keys(Looking(cursor=50), "up").cursor == 1
    assert type_keys(Looking(), "down", found=Snapshot()).cursor == 0


def test_drill_into_a_task_and_back() -> None:
    inside = type_keys(Looking(), "down", "enter")
    assert (inside.place, inside.ref, inside.cursor) == ("task", "local-flights", 0)
    found = snapshot(task=task("flights"), shards=(shard("1"), shard("2")))
    assert type_keys(inside, "down", "down", "enter", found=found).cursor == 1
    assert type_keys(inside, "esc").place == "cluster"


def test_digits_change_over_to_another_mesh() -> None:
    inside = type_keys(Looking(meshes=2, filter="weather"), "enter")
    assert inside.place == "task"
    other = type_keys(inside, "2")
    assert (other.mesh, other.place, other.ref, other.filter) == (1, "cluster", "", "weather")
    assert type_keys(other, "3") == other, "there are two"
    assert type_keys(other, "1").mesh == 0
    assert type_keys(Looking(), "1") == Looking(), "there is one"


def test_drill_into_a_node_and_its_task() -> None:
    inside = type_keys(Looking(), "tab", "enter")
    assert (inside.place, inside.ref) == ("node", "id-n1")
    assert type_keys(inside, "enter").ref == "local-weather"


def test_filter_as_it_is_typed() -> None:
    typing = type_keys(Looking(), "/", "f", "x", "backspace", "l")
    assert (typing.typing, typing.filter) == ("fl", "fl")
    assert type_keys(typing, "enter").typing is None
    assert type_keys(typing, "esc").filter == ""
    assert type_keys(Looking(), "/", "q").filter == "q"


def test_sort_goes_round_and_help_closes() -> None:
    assert type_keys(Looking(), "s").sort == "name"
    assert type_keys(Looking(), *["s"] * 5).sort == "state"
    assert type_keys(Looking(), "?").help
    assert not type_keys(Looking(), "?", "x").help


def test_quit() -> None:
    assert press(Looking(), "q", FOUND)[1] == Quit()


@pytest.mark.parametrize(
    ("key", "row", "action"), [("p", 0, "pause"), ("c", 0, "cancel"), ("r", 1, "retry"), ("r", 2, "resume")]
)
def test_actions_are_confirmed(key: str, row: int, action: str) -> None:
    asking = type_keys(Looking(cursor=row), key)
    assert asking.asking is not None
    assert asking.asking[0] == action
    after, wish = press(asking, "y", FOUND)
    assert wish == Control(action, asking.asking[1])
    assert after.asking is None
    assert after.message.endswith("…")
    refused, nothing = press(asking, "n", FOUND)
    assert nothing is None
    assert refused.message == f"did not {action}"


def test_readonly_and_nothing_selected() -> None:
    assert "read only" in type_keys(Looking(readonly=True), "c").message
    assert type_keys(Looking(), "c", found=Snapshot()).message == "no task selected"
    assert type_keys(Looking(focus="members"), "p").asking is None


def test_a_message_goes_with_the_next_key() -> None:
    assert type_keys(msgspec.structs.replace(Looking(), message="x"), "down").message == ""


def test_bytes_of_a_terminal() -> None:
    assert keys(b"\x1b[A\x1bOBq\r\t\x7f") == ["up", "down", "q", "enter", "tab", "backspace"]
    assert keys(b"\x1b") == ["esc"]
    assert keys(b"\x1b[5~\x01/") == ["/"]
