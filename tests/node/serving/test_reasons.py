"""What `collect why` says of a task, the most decisive first."""

import pytest

from node.serving.reasons import NO_STEWARD, why


@pytest.mark.parametrize("steward", [None, "a"])
def test_a_scheduled_task_that_nobody_would_start_is_told_so_first(steward: str | None) -> None:
    task = {
        "id": "t", "state": "scheduled", "reason": None, "steward": steward,
        "next_run_at": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip
    found = why({"task": task, "nodes": [], "errors": [], "running": []}).reasons
    assert found[0] == (NO_STEWARD if steward is None else f"it runs next at {task['next_run_at']}")
    assert found[-1] == f"it runs next at {task['next_run_at']}"


@pytest.mark.parametrize(("last", "told"), [("02:00:00.000Z", True), ("01:00:30.000Z", False), (None, False)])
def test_a_schedule_that_waits_for_a_clock_that_was_ahead_says_so(last: str | None, told: bool) -> None:
    run = None if last is None else {"scheduled_at": f"2026-01-01T{last}"}
    task = {
        "id": "t", "state": "scheduled", "reason": None, "steward": "a", "run": run,
        "next_run_at": "2026-01-01T02:00:03.000Z", "as_of": "2026-01-01T01:00:00.000Z",
    }  # fmt: skip
    found = why({"task": task, "nodes": [], "errors": [], "running": []}).reasons
    assert any("the clock of a node was ahead" in reason for reason in found) == told
