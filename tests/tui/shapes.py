"""A mesh as its answers show it, for the tests of the live view."""

from typing import Any

from node.schema import Cluster, Node, Records, Run, Shard, Task
from tui.view import Snapshot


def node(name: str, **given: Any) -> Node:
    base: dict[str, Any] = {
        "id": f"id-{name}",
        "name": name,
        "state": "alive",
        "region": "local",
        "zone": "",
        "addresses": {"http": "http://127.0.0.1:8700"},
        "load": {"cpu": 0.5, "rss": 64 * 2**20, "running": 2, "queued": 3, "records_per_s": 1500.0},
        "slots": 1365,
        "version": "0.1.0",
        "boot": 1,
        "plugins": {"csv": "1"},
    }
    return Node(**{**base, **given})


def cluster(**given: Any) -> Cluster:
    base: dict[str, Any] = {
        "id": "mesh",
        "node": "id-n1",
        "nodes": [node("n2", state="dead", ready=False), node("n1")],
        "slots": 4096,
        "tasks": {"running": 2, "failed": 1},
        "tasks_per_s": 10.0,
        "records_per_s": 120_000.0,
        "backlog": 600,
        "as_of": "2026-01-01T00:00:00Z",
    }
    return Cluster(**{**base, **given})


def task(key: str, state: str = "running", **given: Any) -> Task:
    run = Run(
        id="r1",
        state=state,
        progress=0.25,
        rate=1234.0,
        eta_s=75.0,
        records=Records(read=5000, written=4000, dead=3),
        shards={"running": 1},
    )
    base: dict[str, Any] = {
        "id": f"local-{key}",
        "name": key,
        "tenant": "default",
        "region": "local",
        "mode": "full",
        "priority": 5,
        "state": state,
        "reason": None,
        "revision": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "next_run_at": None,
        "steward": "id-n1",
        "spec": {},
        "run": run,
        "as_of": "2026-01-01T00:00:00Z",
    }
    return Task(**{**base, **given})


def shard(key: str, state: str = "running", **given: Any) -> Shard:
    base: dict[str, Any] = {
        "id": key,
        "run": "r1",
        "state": state,
        "node": "id-n1",
        "token": [1, "id-n1", 1],
        "attempt": 1,
        "from_": 0,
        "to": 100,
        "position": 50,
        "records": Records(written=7),
        "error": None,
    }
    return Shard(**{**base, **given})


def snapshot(**given: Any) -> Snapshot:
    base: dict[str, Any] = {
        "cluster": cluster(),
        "tasks": (
            task("weather"),
            task("flights", "failed", reason="no such file"),
            task("planes", "paused"),
        ),
        "events": ("task local-weather running",),
        "history": (0.0, 50.0, 100.0),
        "fetched": 100.0,
        "url": "http://127.0.0.1:8700",
    }
    return Snapshot(**{**base, **given})
