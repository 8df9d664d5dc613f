"""The screen: every place fits the terminal, shows what it should, and obeys no text from elsewhere."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from tests.tui.shapes import cluster, node, shard, snapshot, task
from tui.frame import frame
from tui.view import Looking, Snapshot, Tab


def draw(
    found: Snapshot, looking: Looking, *, height: int = 40, width: int = 140, several: Sequence[Tab] = ()
) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(frame(found, looking, 101.0, height, several))
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue().splitlines()


MANY = snapshot(
    cluster=cluster(nodes=[node(f"n{i:02d}") for i in range(30)], warnings=["w1", "w2", "w3", "w4"]),
    tasks=tuple(task(f"t{i:03d}") for i in range(300)),
    task=task("t000"),
    shards=tuple(shard(str(i)) for i in range(200)),
    events=tuple(f"event {i}" for i in range(50)),
)
PLACES = [
    Looking(),
    Looking(focus="members", cursor=29),
    Looking(place="node", ref="id-n00", cursor=299),
    Looking(place="task", ref="local-t000", cursor=199),
    Looking(help=True),
]


@pytest.mark.parametrize("looking", PLACES)
@pytest.mark.parametrize("height", [24, 30, 60])
def test_no_more_lines_than_the_terminal_has(looking: Looking, height: int) -> None:
    assert len(draw(MANY, looking, height=height)) <= height
    several = [Tab(f"{number} a long name of a mesh: 3/3 nodes", False, False) for number in range(1, 20)]
    assert len(draw(MANY, looking, height=height, several=several)) <= height


def test_the_cluster() -> None:
    text = "\n".join(draw(snapshot(), Looking()))
    for part in (
        "1/2 nodes",
        "120.0k records/s",
        "1 s ago",
        "n1",
        "dead",
        "weather",
        "25%",
        "1,234/s",
        "0:01:15",
    ):
        assert part in text
    assert "task local-weather running" in text


def test_the_row_under_the_cursor_is_drawn() -> None:
    assert any("t299" in line for line in draw(MANY, Looking(cursor=299), height=24))


def test_a_node_and_one_that_is_gone() -> None:
    assert "http http://127.0.0.1:8700" in "\n".join(draw(MANY, Looking(place="node", ref="id-n00")))
    assert "not in the mesh any more" in "\n".join(draw(MANY, Looking(place="node", ref="gone")))


def test_a_task_and_one_not_yet_heard_of() -> None:
    text = "\n".join(draw(MANY, Looking(place="task", ref="local-t000")))
    assert "200 running" in text
    assert "asking…" in "\n".join(draw(MANY, Looking(place="task", ref="other")))


def test_before_the_first_answer() -> None:
    assert "no answer yet" in "\n".join(draw(Snapshot(trouble="no node answers"), Looking()))


def test_questions_and_messages_stand_at_the_bottom() -> None:
    assert draw(snapshot(), Looking(asking=("cancel", "x")))[-1].startswith("cancel x?")
    assert draw(snapshot(), Looking(typing="ab"))[-1].startswith("/ab")
    assert draw(snapshot(), Looking(message="done"))[-1].startswith("done")


def test_text_from_elsewhere_is_drawn_as_it_is() -> None:
    found = snapshot(tasks=(task("[red]x[/red]\x1b[2J", reason="[bold"),))
    text = "\n".join(draw(found, Looking()))
    assert "[red]x[/red]·[2J" in text
    assert "\x1b" not in text
