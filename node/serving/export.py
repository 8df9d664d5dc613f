"""The published rows of a task as one stream of bytes, read where the sink's folder is, in pieces."""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from node.api.problems import refuse
from node.execution.roots import FolderRoots
from node.service import Refused

PIECE = 1 << 20
FORMATS = frozenset({"jsonl", "csv"})


class Exporter:
    """Serves pieces of what is published below this node's roots."""

    def __init__(self, roots: FolderRoots) -> None:
        self._roots = roots

    async def piece(self, arguments: dict[str, Any]) -> Any:
        """`{data, next, seen}`: bytes from `[part, offset]` of the folder's manifest on; `next` null at the end.

        `seen`: the hash of the parts up to this one, which the next question repeats, so that the pieces are of one
        result.
        """
        folder = self._roots.resolve(arguments["path"])
        parts = _parts(folder)
        number, offset = arguments["at"]
        if arguments.get("seen") and arguments["seen"] != _hash(parts[: number + (offset > 0)]):
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
        seen = _hash(parts[: number + 1])
        return {"data": data, "next": following if following[0] < len(parts) else None, "seen": seen}


def _parts(folder: Path) -> list[dict[str, Any]]:
    try:
        manifest = json.loads((folder / "_manifest.json").read_bytes())
    except FileNotFoundError:
        raise refuse(409, "not-published", "nothing is published yet; wait for the run to succeed") from None
    return [part for part in manifest["parts"] if part["file"]]


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


def _hash(parts: list[dict[str, Any]]) -> str:
    names = "\n".join(part["file"] for part in parts)
    return hashlib.blake2b(names.encode(), digest_size=12).hexdigest()


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
