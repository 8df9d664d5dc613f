"""The published folder of a file sink against its manifest, and the manifest against the commit records."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from node.execution.roots import FolderRoots
from plugins.api import Permanent
from plugins.sinks.chain import Chain, markers
from plugins.sinks.durable import replace
from plugins.sinks.files import MANIFEST, OWNER, Owner
from plugins.sinks.manifest import judge, manifest

BLOCK = 1 << 20

Problem = tuple[str, str, str]
"""(kind of finding, file, what)"""


class FolderCheck:
    def __init__(self, roots: FolderRoots) -> None:
        self._roots = roots

    async def folder(self, arguments: dict[str, Any]) -> Any:
        """`{folder, runs: {run: records}, parts, bytes, problems, repaired}` of a task's folder on this node."""
        try:
            folder = self._roots.resolve(arguments["path"])
        except Permanent as error:
            return {"folder": arguments["path"], "runs": {}, "parts": 0, "bytes": 0, "repaired": False,
                    "problems": [("unchecked", "", str(error))]}  # fmt: skip
        task, deep, repair = arguments["task"], bool(arguments["deep"]), bool(arguments["repair"])
        return await asyncio.to_thread(check, folder, task, deep=deep, repair=repair)


def check(folder: Path, task: str, *, deep: bool, repair: bool) -> dict[str, Any]:
    repaired = False
    found, problems = _manifest(folder, task)
    if problems and repair:
        repaired = _write_again(folder, task)
        found, left = _manifest(folder, task)
        problems = left or problems
        repaired = repaired and not left
    parts = found.get("parts", [])
    problems += [problem for part in parts if (problem := _part(folder, part, deep=deep)) is not None]
    problems += _extra(folder, {part["file"] for part in parts})
    runs: dict[str, int] = dict.fromkeys(found.get("runs", []), 0)
    for part in parts:
        runs[part["run"]] = runs.get(part["run"], 0) + part["records"]
    size = sum(part["bytes"] for part in parts)
    return {
        "folder": str(folder), "runs": runs, "parts": len(parts), "bytes": size, "problems": problems,
        "repaired": repaired,
    }  # fmt: skip


def _manifest(folder: Path, task: str) -> tuple[dict[str, Any], list[Problem]]:
    """The manifest, empty where it cannot be read, and whether it is what the commit records say."""
    try:
        content = (folder / MANIFEST).read_bytes()
        found = msgspec.json.decode(content, type=dict[str, Any])
    except FileNotFoundError:
        return {}, [("manifest", MANIFEST, "is missing")]
    except (OSError, msgspec.DecodeError) as error:
        return {}, [("manifest", MANIFEST, f"cannot be read: {error}")]
    if found.get("task") != task:
        return {}, [("manifest", MANIFEST, f"is that of task {found.get('task')}")]
    try:
        wanted = _from_records(folder, task)
    except Permanent as error:
        return found, [("manifest", "_commits", str(error))]
    if content != wanted:
        return found, [("manifest", MANIFEST, "is not what the commit records say")]
    return found, []


def _from_records(folder: Path, task: str) -> bytes:
    """The manifest, which is a pure function of the commit records and markers. Raises Permanent."""
    done = markers(folder)
    verdict = judge(done)
    listed = {mark.run: mark.shards for mark in done if mark.run in verdict.published}
    chains = []
    for run in verdict.published:
        for shard in listed[run]:
            chain = Chain.of(folder, run, shard).read()
            if not chain or not chain[-1].sealed or chain[0].task != task:
                raise Permanent(
                    f"commit records of run {run}, shard {shard} are missing", code="sink-damaged"
                )
            chains.append(chain)
    return manifest(task, verdict, chains)


def _write_again(folder: Path, task: str) -> bool:
    """Write the manifest from the commit records, unless there are none."""
    try:
        owner = msgspec.json.decode((folder / OWNER).read_bytes(), type=Owner)
        if owner.task != task or not markers(folder):
            return False
        before, content = b"", _from_records(folder, task)
        while before != content:  # a run may be published meanwhile
            replace(folder / MANIFEST, content)
            before, content = content, _from_records(folder, task)
    except (Permanent, OSError, msgspec.DecodeError):
        return False
    return True


def _part(folder: Path, part: dict[str, Any], *, deep: bool) -> Problem | None:
    name = part["file"]
    path = folder / name
    try:
        size = path.stat().st_size
        if size != part["bytes"]:
            return ("part", name, f"has {size} bytes; the manifest says {part['bytes']}")
        if deep and _sha256(path) != part["sha256"]:
            return ("part", name, "its content is not what was written: the sha256 differs")
    except FileNotFoundError:
        return ("part", name, f"is missing, with {part['records']} records")
    except OSError as error:
        return ("part", name, f"cannot be read: {error.strerror}")
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _extra(folder: Path, named: set[str]) -> list[Problem]:
    if not named:
        return []
    visible = {entry.name for entry in folder.iterdir() if entry.name[0] not in "._" and entry.is_file()}
    return [("part", name, "is in the folder and not in the manifest") for name in sorted(visible - named)]
