"""Looking at the mesh: cluster, plugins, and the live view in a process of its own."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import json
import os
import sys
from typing import Annotated, Any
from urllib.parse import urlsplit

from cyclopts import Parameter

from node.cli.contexts import Target, current, every, target
from node.cli.failures import OK
from node.cli.output import colourful, emit, facts, table
from node.cli.session import HERE, Output, Reach, speak
from node.schema import Cluster, Node


def cluster(*, output: Output = "table", reach: Reach = HERE) -> int:
    """Show the members of the mesh and what it does."""
    answer = speak(reach, lambda client: client.cluster())
    rows = [node_row(node) for node in answer.nodes]
    if output == "table":
        print(_summary(answer))
        print(table(rows, colour=colourful()))
    else:
        emit(answer, rows, output)
    for warning in answer.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return OK


def plugins(*, output: Output = "table", reach: Reach = HERE) -> int:
    """List the plugins that the answering node has."""
    found = speak(reach, lambda client: client.plugins())
    rows = [
        {"kind": p["kind"], "name": p["name"], "version": p["version"], "options": _options(p)} for p in found
    ]
    emit(found, rows, output)
    return OK


def top(
    *,
    also: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    readonly: Annotated[bool, Parameter(negative="")] = False,
    once: Annotated[bool, Parameter(negative="")] = False,
    reach: Reach = HERE,
) -> int:
    """Watch meshes live: members, tasks, shards, events. ? shows the keys.

    Parameters
    ----------
    also: Another mesh in the same view, by its context; may be repeated. The keys 1 to 9 change over.
    all_: The meshes of all contexts.
    readonly: No key changes anything.
    once: Print one frame of each mesh and end.
    """
    addressed = bool(reach.url or (os.environ.get("COLLECT_URL") and reach.context is None))
    aims: dict[str, Target] = {}
    if addressed or reach.context or not all_:
        aim = target(reach.url, reach.token_file, reach.context)
        name = reach.context or (None if addressed else current()) or urlsplit(aim.urls[0]).netloc
        aims[name] = aim
    for name in [*(every() if all_ else []), *also]:
        aims.setdefault(name, target((), None, name))
    meshes = [{"name": name, "urls": aim.urls, "token": aim.token} for name, aim in aims.items()]
    environ = {**os.environ, "COLLECT_MESHES": json.dumps(meshes)}
    flags = [flag for flag, wanted in (("--readonly", readonly), ("--once", once)) if wanted]
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-P", "-m", "tui", *flags], environ)  # noqa: S606  (this process becomes the live view: an import would tie it to the client)


def node_row(node: Node) -> dict[str, Any]:
    load = node.load
    return {
        "id": node.id,
        "name": node.name,
        "state": node.state,
        "region": node.region,
        "zone": node.zone or None,
        "slots": node.slots,
        "cpu": f"{load.get('cpu', 0):.0%}",
        "rss_mb": round(load.get("rss", 0) / 2**20),
        "running": int(load.get("running", 0)),
        "queued": int(load.get("queued", 0)),
        "http": node.addresses.get("http"),
        "note": note(node),
    }


def note(node: Node) -> str | None:
    """What is out of the ordinary."""
    if node.draining:
        done, left = node.drain is not None and node.drain.done, node.drain.copies if node.drain else None
        return "drained" if done else "draining" + ("" if left is None else f", {left:,} copies left")
    if not node.ready:
        return f"not ready: {node.reason}" if node.reason else "not ready"
    return node.reason or ("paused" if node.paused else None)


def _summary(answer: Cluster) -> str:
    tasks = "  ".join(f"{count:,} {state}" for state, count in answer.tasks.items() if count) or "none"
    rates = f"{answer.tasks_per_s:,.1f} tasks/s, {answer.records_per_s:,.1f} records/s"
    return facts(
        {
            "mesh": answer.id,
            "answered by": answer.node,
            "tasks": tasks,
            "backlog": answer.backlog,
            "now": rates,
        }
    )


def _options(plugin: dict[str, Any]) -> str:
    schema = plugin.get("options") or {}
    return " ".join(sorted(schema.get("properties", {}))) or "-"
