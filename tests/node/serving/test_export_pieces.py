"""An export is of one result, whole, or it breaks off."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.execution.roots import FolderRoots
from node.service import Refused
from node.serving.export import PIECE, Exporter, exported

NEEDS = {
    "task": {"spec": {"sink": [{"plugin": "jsonl", "path": "out"}]}},
    "nodes": [{"id": "a", "eligible": True}],
}


def publish(folder: Path, *runs: str) -> None:
    """Two parts a run, the first of them larger than a piece."""
    parts = []
    for run in runs:
        for number, size in enumerate((PIECE + 10, 10)):
            name = f"{run}~{number}.jsonl"
            (folder / name).write_text(run[0] * size)
            parts.append({"file": name})
    (folder / "_manifest.json").write_text(json.dumps({"parts": parts}))


async def export(root: Path, meanwhile: Callable[[int], None]) -> bytes:
    """`meanwhile(n)` happens after the n-th piece."""
    exporter = Exporter(FolderRoots({"default": root}))

    async def ask(node: str, arguments: dict[str, Any]) -> Any:
        return await exporter.piece(arguments)

    found = b""
    pieces = 0
    async for piece in exported(NEEDS, ask):
        found += piece
        meanwhile(pieces := pieces + 1)
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    publish(folder, "a")
    return folder


@pytest.mark.parametrize("moment", [1, 2])
async def test_another_result_ends_it(out: Path, moment: int) -> None:
    with pytest.raises(Refused, match="replaced"):
        await export(out.parent, lambda pieces: publish(out, "b") if pieces == moment else None)


async def test_what_a_later_run_adds_is_in_it(out: Path) -> None:
    found = await export(out.parent, lambda pieces: publish(out, "a", "b") if pieces == 1 else None)
    assert found == b"a" * (PIECE + 20) + b"b" * (PIECE + 20)


async def test_a_missing_file_is_told_before_anything_is_sent(out: Path) -> None:
    (out / "a~1.jsonl").unlink()
    sent: list[int] = []
    with pytest.raises(Refused, match=r"a~1\.jsonl is missing; `collect verify`"):
        await export(out.parent, sent.append)
    assert sent == []


async def test_the_work_grows_with_the_parts_and_no_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifests read and names hashed for ten times the parts are ten times as much at most."""
    read: list[int] = []
    hashed: list[int] = []
    load, blake2b = json.loads, hashlib.blake2b

    def loads(text: bytes) -> Any:
        read.append(len(text))
        return load(text)

    def digest(data: bytes, *, digest_size: int) -> Any:
        hashed.append(len(data))
        return blake2b(data, digest_size=digest_size)

    monkeypatch.setattr("node.serving.export.json.loads", loads)
    monkeypatch.setattr("node.serving.export.hashlib.blake2b", digest)
    work = []
    for count in (20, 200):
        folder = tmp_path / f"{count}" / "out"
        folder.mkdir(parents=True)
        names = [f"{number:06d}.jsonl" for number in range(count)]
        for name in names:
            (folder / name).write_text("x")
        (folder / "_manifest.json").write_text(json.dumps({"parts": [{"file": name} for name in names]}))
        read.clear()
        hashed.clear()
        assert len(await export(folder.parent, lambda pieces: None)) == count
        work.append(sum(read) + sum(hashed))
    assert work[1] <= 11 * work[0]


async def test_a_manifest_that_was_replaced_is_read_again(out: Path) -> None:
    """Also by one of the same length."""
    exporter = Exporter(FolderRoots({"default": out.parent}))
    question = {"path": "out", "plugin": "jsonl", "at": [0, 0]}
    assert (await exporter.piece(question))["data"][:1] == b"a"
    publish(out, "b")
    assert (await exporter.piece(question))["data"][:1] == b"b"
