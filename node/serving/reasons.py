"""Why a task does (not) progress, as sentences; the most decisive reason first."""

import datetime as dt
from typing import Any

from node.schema import Why

NO_STEWARD = "its slot has no steward now: its replicas are gone or not ready; it goes on when one is back"

AHEAD = dt.timedelta(minutes=1)
"""Clocks that differ by less are told apart by nobody."""


def why(needs: dict[str, Any]) -> Why:
    task, nodes = needs["task"], needs["nodes"]
    reasons = [*_about_state(task), *_about_nodes(task, nodes), *_about_errors(needs["errors"])]
    for shard in needs["running"][:10]:
        names = {node["id"]: node["name"] for node in nodes}
        reasons.append(
            f"shard {shard['shard']} is {shard['state']} on {names.get(shard['node'], shard['node'])}"
        )
    if not reasons:
        reasons.append("it waits for a free place on a node")
    reasons += task.get("warnings", [])
    return Why(task=task["id"], state=task["state"], reasons=reasons, nodes=nodes)


def _about_state(task: dict[str, Any]) -> list[str]:
    state, reason = task["state"], task["reason"]
    if state == "scheduled":
        held = [NO_STEWARD] if task["steward"] is None else []
        next_run = f"it runs next at {task['next_run_at']}"
        return [*held, next_run, *_ahead(task), *([reason] if reason else [])]
    if state == "paused":
        return [f"it is {reason or 'paused'}; `collect resume {task['id']}` goes on"]
    if state in ("succeeded", "partial", "failed", "cancelled"):
        return [f"it is over: {state}" + (f" ({reason})" if reason else "")]
    if task["steward"] is None:
        return [NO_STEWARD]
    return [reason] if reason else []


def _ahead(task: dict[str, Any]) -> list[str]:
    """Instants are run once, so a schedule waits for those that were run under a clock that was ahead."""
    last, now = (task.get("run") or {}).get("scheduled_at"), task.get("as_of")
    if not last or not now or dt.datetime.fromisoformat(last) - dt.datetime.fromisoformat(now) < AHEAD:
        return []
    return [f"its last run was for {last}, which is yet to come: the clock of a node was ahead"]


def _about_nodes(task: dict[str, Any], nodes: list[dict[str, Any]]) -> list[str]:
    if task["state"] not in ("pending", "running") or any(node["eligible"] for node in nodes):
        return []
    return ["no node can run it"] + [f"node {node['name']} {', '.join(node['reasons'])}" for node in nodes]


def _about_errors(errors: list[dict[str, Any]]) -> list[str]:
    lines = []
    for error in errors[:3]:
        retry = f"; it is tried again at {error['retry_at']}" if error.get("retry_at") else ""
        lines.append(
            f"{error['step']} {error['shard']}: {error['reason']} (attempt {error['attempt']}){retry}"
        )
    return lines
