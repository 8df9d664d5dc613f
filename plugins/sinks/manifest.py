"""What is published: a pure function of the chains and of the runs that are marked as done.

Runs are ordered by generation, then by id (an instant). The published runs are those of the newest complete
generation, from its last complete run that replaces the ones before it. What comes before them in the order
is *superseded*: its parts and records may go. A replacing run that is not complete is published only while
there is no complete one.
"""

from typing import Any

import msgspec

from plugins import ordering
from plugins.sinks.chain import Commit, Marker

Order = tuple[int, Any, str]


class Verdict(msgspec.Struct, frozen=True):
    """`published`: run ids in order; runs below `floor` in the order are superseded."""

    published: list[str]
    generation: int
    complete: bool
    floor: Order | None

    def supersedes(self, generation: int, run: str) -> bool:
        return self.floor is not None and order_of(generation, run) < self.floor


def order_of(generation: int, run: str) -> Order:
    return (generation, ordering.parse(run), run)


def judge(markers: list[Marker]) -> Verdict:
    """Which of the runs that are done are the result."""
    runs = sorted(markers, key=lambda marker: order_of(marker.generation, marker.run))
    done = [marker.generation for marker in runs if marker.complete]
    if done:
        runs = [marker for marker in runs if marker.generation == done[-1]]
    last = max((index for index, run in enumerate(runs) if run.replaces and run.complete), default=None)
    if last is not None:
        runs = [runs[last], *(run for run in runs[last + 1 :] if not run.replaces)]
    elif done:
        runs = [run for run in runs if not run.replaces]
    else:
        newest = max((index for index, run in enumerate(runs) if run.replaces), default=0)
        runs = runs[newest:]
    if not runs:
        return Verdict([], 0, False, None)
    floor = None
    if last is not None:
        floor = order_of(runs[0].generation, runs[0].run)
    elif done:
        floor = (done[-1], (-1,), "")
    generation = runs[-1].generation
    return Verdict([run.run for run in runs], generation, all(run.complete for run in runs), floor)


def manifest(task: str, verdict: Verdict, chains: list[list[Commit]]) -> bytes:
    """The content of `_manifest.json`."""
    rank = {run: index for index, run in enumerate(verdict.published)}
    listed = sorted(
        (commits for commits in chains if commits[0].run in rank),
        key=lambda commits: (rank[commits[0].run], commits[0].shard),
    )
    parts = [
        {
            "file": commit.part,
            "run": commit.run,
            "shard": commit.shard,
            "from": commit.from_,
            "to": commit.to,
            "records": commit.records,
            "bytes": commit.bytes,
            "sha256": commit.sha256,
        }
        for commits in listed
        for commit in commits
        if commit.part
    ]
    content = {
        "version": 1,
        "task": task,
        "generation": verdict.generation,
        "runs": verdict.published,
        "records": sum(part["records"] for part in parts),
        "complete": verdict.complete,
        "parts": parts,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
