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
