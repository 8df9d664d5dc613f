"""The published rows of a task as one stream of bytes, read where the sink's folder is, in pieces."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from node.api.problems import refuse
from node.execution.roots import FolderRoots
from node.service import Refused

PIECE = 1 << 20
FORMATS = frozenset({"jsonl", "csv"})
MANIFESTS = 8
"""That are remembered, of the folders asked for last; more cost memory, fewer are read again for each piece."""

Version = tuple[int, ...]


class Published(NamedTuple):
    """The parts of a manifest. `seen[n]`: the hash of the first n of them."""

    parts: list[dict[str, Any]]
    seen: list[str]


class Exporter:
    """Serves pieces of what is published below this node's roots."""

    def __init__(self, roots: FolderRoots) -> None:
        self._roots = roots
        self._known: dict[Path, tuple[Version, Published]] = {}

    async def piece(self, arguments: dict[str, Any]) -> Any:
        """`{data, next, seen}`: bytes from `[part, offset]` of the folder's manifest on; `next` null at the end.

        `seen`: the hash of the parts up to this one, which the next question repeats, so that the pieces are of one
        result.
        """
        folder = self._roots.resolve(arguments["path"])
        parts, seen = self._published(folder)
        number, offset = arguments["at"]
        if arguments.get("seen") and arguments["seen"] != seen[min(number + (offset > 0), len(parts))]:
            raise _replaced()
        if number >= len(parts):
            return {"data": b"", "next": None}
        if [number, offset] == [0, 0]:
            _check(folder, parts)
        try:
            if arguments["plugin"] == "csv" and not offset:
                offset = _behind_header(folder, parts, number)
            with (folder / parts[number]["file"]).open("rb") as file:
                file.seek(offset)
                data = file.read(PIECE)
        except FileNotFoundError:
            raise _replaced() from None
        following = [number, offset + len(data)] if len(data) == PIECE else [number + 1, 0]
        ended = following[0] >= len(parts)
        return {"data": data, "next": None if ended else following, "seen": seen[number + 1]}

    def _published(self, folder: Path) -> Published:
        """What the manifest says; read once as long as it is the same file, for there are as many pieces as parts."""
        try:
            with (folder / "_manifest.json").open("rb") as file:
                version = _version(os.fstat(file.fileno()))
                known = self._known.pop(folder, None)
                found = known[1] if known is not None and known[0] == version else _read(file.read())
        except FileNotFoundError:
            detail = "nothing is published yet; wait for the run to succeed"
            raise refuse(409, "not-published", detail) from None
        self._known[folder] = version, found
        if len(self._known) > MANIFESTS:
            del self._known[next(iter(self._known))]
        return found


def _version(status: os.stat_result) -> Version:
    """A manifest is replaced, never written to."""
    return status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size


def _read(manifest: bytes) -> Published:
    parts = [part for part in json.loads(manifest)["parts"] if part["file"]]
    seen = [""]
    for part in parts:
        text = f"{seen[-1]}\n{part['file']}"
        seen.append(hashlib.blake2b(text.encode(), digest_size=12).hexdigest())
    return Published(parts, seen)


def _behind_header(folder: Path, parts: list[dict[str, Any]], number: int) -> int:
    """Where to read a part of CSV from: one header for the whole file. All parts must have the same."""
    if number:
        return len(_header(folder / parts[number]["file"]))
    if len({_header(folder / part["file"]) for part in parts}) > 1:
        raise refuse(
            409,
            "columns-differ",
            "the parts have different columns and make no one file; name all in the sink's option columns",
        )
    return 0


def _header(path: Path) -> bytes:
    """The first record of a CSV file, in which names may hold line ends."""
    with path.open("rb") as file:
        header = file.readline()
        while header.count(b'"') % 2 and (line := file.readline()):
            header += line
    return header


def _check(folder: Path, parts: list[dict[str, Any]]) -> None:
    """Refuse before anything is sent, where that can be known."""
    lost = [part["file"] for part in parts if not (folder / part["file"]).exists()]
    if lost:
        raise refuse(
            409, "missing", f"{folder / lost[0]} is missing; `collect verify` says what to do about it"
        )


def _replaced() -> Refused:
    return refuse(409, "replaced", "another run replaced the result meanwhile; export it again")


async def exported(
    needs: dict[str, Any], ask: Callable[[str, dict[str, Any]], Awaitable[Any]]
) -> AsyncIterator[bytes]:
    """`ask(node, arguments)` gets a piece from a node that can reach the folder."""
    sink = next((s for s in needs["task"]["spec"]["sink"] if s["plugin"] in FORMATS), None)
    if sink is None:
        raise refuse(
            409, "not-a-file", "no sink of this task writes files; read its result where the sink put it"
        )
    node = next((node["id"] for node in needs["nodes"] if node["eligible"]), None)
    if node is None:
        raise refuse(503, "no-node", "no live node can reach the folder of this task")
    at: list[int] | None = [0, 0]
    seen = ""
    while at is not None:
        answer = await ask(node, {"path": sink["path"], "plugin": sink["plugin"], "at": at, "seen": seen})
        seen = answer.get("seen", "")  # an older version does not tell
        if answer["data"]:
            yield bytes(answer["data"])
        at = answer["next"]
