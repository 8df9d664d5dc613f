"""Snapshots as rows."""

import pytest

from tests.tui.shapes import cluster, node, shard, snapshot, task
from tui import view
from tui.view import Looking, Snapshot


def test_header_tells_health_rates_and_age() -> None:
    row = view.header(snapshot(), now=101.0)
    assert (row.health, row.sick) == ("1/2 nodes", True)
    assert (row.records_per_s, row.backlog, row.eta) == ("120.0k", "600", "0:01:00")
    assert (row.age, row.stale) == ("1 s ago", False)
    assert row.spark == " ▄█"
    assert row.states == "2 running  1 failed"


def test_header_of_a_mesh_that_fell_silent_shows_the_age() -> None:
    row = view.header(snapshot(trouble="no node answers"), now=112.0)
    assert (row.age, row.stale) == ("12 s ago", True)
    assert row.warnings == ("no node answers",)


def test_header_before_the_first_answer() -> None:
    row = view.header(Snapshot(), now=5.0)
    assert (row.health, row.age, row.stale) == ("no answer yet", "", True)


def test_a_mesh_that_a_node_left_is_not_sick() -> None:
    nodes = [node("n1"), node("n2", state="left")]
    assert not view.header(snapshot(cluster=cluster(nodes=nodes)), now=100.0).sick


def test_members_by_name_with_what_is_wrong() -> None:
    rows = view.members(snapshot(cluster=cluster(nodes=[node("b", paused=True), node("a", zone="z1")])))
    assert [row.name for row in rows] == ["a", "b"]
    assert (rows[0].region, rows[0].memory, rows[0].slots) == ("local/z1", "64 MB", "1,365")
    assert rows[1].note == "paused"


def test_tasks_urgent_first_then_by_the_wanted_order() -> None:
    found = snapshot()
    assert [row.name for row in view.tasks(found, Looking())] == ["weather", "flights", "planes"]
    assert [row.name for row in view.tasks(found, Looking(sort="name"))] == ["flights", "planes", "weather"]
    row = view.tasks(found, Looking())[0]
    assert (row.progress, row.records, row.rate, row.eta, row.steward) == (
        0.25,
        "4,000",
        "1,234/s",
        "0:01:15",
        "n1",
    )
    assert view.tasks(found, Looking())[1].note == "no such file"


@pytest.mark.parametrize("sort", view.SORTS)
def test_every_order_takes_tasks_without_a_run(sort: str) -> None:
    found = snapshot(tasks=(task("a", run=None, name=None), task("b")))
    assert len(view.tasks(found, Looking(sort=sort))) == 2


@pytest.mark.parametrize(
    ("text", "names"),
    [("failed", ["flights"]), ("n1 paused", ["planes"]), ("WEA", ["weather"]), ("zzz", [])],
)
def test_filter_wants_every_word(text: str, names: list[str]) -> None:
    assert [row.name for row in view.tasks(snapshot(), Looking(filter=text))] == names


def test_tasks_of_one_node() -> None:
    found = snapshot(tasks=(task("a", steward="id-n2"), task("b")))
    assert [row.name for row in view.tasks(found, Looking(place="node", ref="id-n2"))] == ["a"]


def test_shards_unfinished_first() -> None:
    found = snapshot(shards=(shard("1", "succeeded"), shard("2", "failed", error="boom"), shard("3")))
    rows = view.shards(found)
    assert [row.id for row in rows] == ["3", "2", "1"]
    assert (rows[0].span, rows[0].node, rows[1].error) == ("0 .. 100", "n1", "boom")


def test_window_holds_the_cursor() -> None:
    for cursor in range(50):
        shown = view.window(50, cursor, 7)
        assert len(shown) == 7
        assert cursor in shown
    assert list(view.window(3, 2, 7)) == [0, 1, 2]
    assert list(view.window(0, 0, 7)) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.25, "0.2"),
        (1234, "1,234"),
        (123456, "123.5k"),
        (4.56e6, "4.56M"),
        (2e9, "2.00G"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert view.number(value) == text


def test_short() -> None:
    assert view.short({"page": 1}) == '{"page":1}'
    assert view.short("x" * 30, 5) == "xxxx…"
