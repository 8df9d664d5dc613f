"""What people are told of what was found, and what to do about it. Pure."""

from collections.abc import Sequence
from typing import Any

from node.schema import Finding
from sharding.region import LOCAL, shown
from state.storage.archive import REMEDY

AGAIN = {
    "range": "submit it again with --force: the range is collected anew",
    "full": "submit it again: a new run replaces the result",
    "incremental": "delete the task and submit it again: rows before its cursor are not read otherwise",
}


STAYS = "repair again, before this node is stopped: what lies in the file could not be folded yet; its memory is sound"


def unchecked(node: str, error: Exception) -> Finding:
    return Finding(kind="unchecked", node=node, what=f"could not be asked: {error}")


def uncompared(node: str, slots: int, error: Exception) -> Finding:
    """`slots`: of how many the node did not answer."""
    what = f"was not compared in {slots} slots, for it could not be asked: {error}"
    return Finding(kind="unchecked", node=node, what=what)


def of_log(
    node: str,
    file: int,
    wounds: Sequence[Sequence[Any]],
    damaged: Sequence[Sequence[Any]],
    mended: dict[str, Any] | None,
) -> list[Finding]:
    """Of one log file: `wounds` are bytes that do not check, `damaged` envelopes that cannot be read."""
    repaired = mended is not None and bool(mended["gone"])
    remedy = "" if repaired else "collect verify --repair" if mended is None else STAYS
    found = []
    for _, path, offset, end in (wound for wound in wounds if wound[0] == file):
        what = f"bytes {offset} to {end} are damaged"
        found.append(Finding(kind="log", node=node, file=path, offset=offset, what=what, repaired=repaired,
                             remedy=remedy))  # fmt: skip
    for slot, author, seq, _, offset, why in (entry for entry in damaged if entry[3] == file):
        found.append(
            Finding(
                kind="log", node=node, slot=shown(slot, LOCAL), file=f"{file:08d}.log", offset=offset,
                what=f"envelope {seq} of {author} cannot be read ({why})", repaired=repaired, remedy=remedy,
            )
        )  # fmt: skip
    return found


def of_archive(
    node: str, file: str, slot: int, batch: str, why: str, mended: dict[str, Any] | None
) -> Finding:
    """Of one row of the archive, of the base of a slot (no batch), or of the whole file (slot -1)."""
    repaired = mended is not None and bool(mended["mended"])
    remedy = "" if repaired else "collect verify --repair" if mended is None and slot >= 0 else REMEDY
    if slot < 0:
        return Finding(
            kind="archive", node=node, file=file, what=f"the file is damaged ({why})", remedy=remedy
        )
    where = shown(slot, LOCAL)
    what = (
        f"the tasks of batch {where}-{batch} cannot be read"
        if batch
        else "the base of the slot cannot be read"
    )
    return Finding(
        kind="archive",
        node=node,
        slot=where,
        file=file,
        what=f"{what} ({why})",
        repaired=repaired,
        remedy=remedy,
    )


def of_loss(node: str, slot: int, batch: str, other: str, mended: dict[str, Any] | None) -> Finding:
    """Of an archived batch that is gone from a node, and that another one has."""
    repaired = mended is not None and bool(mended["mended"])
    where = shown(slot, LOCAL)
    return Finding(
        kind="archive", node=node, slot=where, repaired=repaired, remedy="" if repaired else "collect verify --repair",
        what=f"the tasks of batch {where}-{batch} are gone from its archive; node {other} has them",
    )  # fmt: skip


def of_gap(node: str, behind: Sequence[Any]) -> Finding:
    slot, author, first, waiting = behind
    return Finding(
        kind="log",
        node=node,
        slot=shown(slot, LOCAL),
        what=f"{waiting} envelopes of {author} from {first} on are on the disk and not applied: one before is lost",
        remedy="start the nodes that are down, one of them may have it; else submit again what was accepted then",
    )


def of_folder(task: dict[str, Any], node: str, answer: dict[str, Any]) -> list[Finding]:
    """Of the folder of a task's sink as `node` sees it."""
    again = AGAIN.get(task["mode"], AGAIN["full"])
    written = {run: task["written"][run] for run in answer["runs"] if run in task["written"]}
    if not written and not answer["runs"] and not any(task["written"].values()):
        return []  # nothing was ever to be published
    found = [
        Finding(
            kind=kind, node=node, task=task["id"], file=f"{answer['folder']}/{file}".rstrip("/"), what=what,
            repaired=kind == "manifest" and answer["repaired"],
            remedy=_folder_remedy(kind, what, again),
        )
        for kind, file, what in answer["problems"]
    ]  # fmt: skip
    for run, records in written.items():
        if task["only"] and records != answer["runs"][run]:
            what = f"run {run}: the manifest has {answer['runs'][run]} records, the ledger {records}"
            found.append(Finding(kind="records", node=node, task=task["id"], what=what, remedy=again))
    if task["gaps"]:
        what = f"is over and lacks {_ranges(task['gaps'])} of {task['field']}"
        found.append(
            Finding(kind="coverage", task=task["id"], what=what, remedy="submit it again: gaps are collected")
        )
    return found


def _folder_remedy(kind: str, what: str, again: str) -> str:
    if kind == "manifest":
        return f"collect verify --repair writes it from the commit records, if they are whole; else {again}"
    if kind == "unchecked":
        return ""
    if "not in the manifest" in what:
        return "move it away: it is not part of the result"
    return f"put the file back from a backup, or {again}"


def _ranges(gaps: Sequence[Sequence[Any]]) -> str:
    shown = ", ".join(f"[{low}, {high})" for low, high in gaps[:3])
    return f"{shown} and {len(gaps) - 3} more" if len(gaps) > 3 else shown
