"""A published folder against its manifest and its commit records, with the real sink."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from node.verification.outputs import check
from plugins.sinks.files import MANIFEST
from tests.plugins.test_file_sinks import R1, R2, ROWS, run_of

SOUND = {"runs": {R1: 30, R2: 3}, "parts": 2, "problems": [], "repaired": False}


async def published(base: Path) -> Path:
    await run_of(base, R1, ROWS)
    await run_of(base, R2, ROWS[:3])
    return base / "out"


def looked(folder: Path, **how: bool) -> dict[str, Any]:
    found = check(folder, "t", **{"deep": True, "repair": False, **how})
    return {name: found[name] for name in SOUND}


async def test_a_sound_folder(tmp_path: Path) -> None:
    folder = await published(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert looked(folder, repair=True) == SOUND
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"task": "t", "parts": []}'])
async def test_a_manifest_comes_again_from_the_commit_records(tmp_path: Path, content: bytes | None) -> None:
    folder = await published(tmp_path)
    whole = (folder / MANIFEST).read_bytes()
    if content is None:
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_bytes(content)
    found = looked(folder)
    assert [problem[0] for problem in found["problems"] if problem[1] == MANIFEST] == ["manifest"]
    assert not found["repaired"]
    found = looked(folder, repair=True)
    assert (found["repaired"], found["runs"]) == (True, SOUND["runs"])
    assert (folder / MANIFEST).read_bytes() == whole
    assert looked(folder) == SOUND


async def test_without_all_commit_records_nothing_is_written(tmp_path: Path) -> None:
    """A manifest made of the rest would drop parts that are there."""
    folder = await published(tmp_path)
    whole = (folder / MANIFEST).read_bytes()
    shutil.rmtree(next(path for path in (folder / "_commits").rglob("0") if path.is_dir()))
    found = looked(folder, repair=True)
    assert [problem[:2] for problem in found["problems"]] == [("manifest", "_commits")]
    assert not found["repaired"]
    assert (folder / MANIFEST).read_bytes() == whole


async def test_the_folder_of_another_task_is_left_alone(tmp_path: Path) -> None:
    folder = await published(tmp_path)
    whole = (folder / MANIFEST).read_bytes()
    found = check(folder, "other", deep=True, repair=True)
    assert found["problems"] == [("manifest", MANIFEST, "is that of task t")]
    assert (folder / MANIFEST).read_bytes() == whole


async def test_parts_are_counted_measured_and_hashed(tmp_path: Path) -> None:
    folder = await published(tmp_path)
    first, second = (part["file"] for part in json.loads((folder / MANIFEST).read_bytes())["parts"])
    data = bytearray((folder / first).read_bytes())
    data[0] ^= 1
    (folder / first).write_bytes(data)
    assert looked(folder, deep=False) == SOUND
    assert [problem[:2] for problem in looked(folder)["problems"]] == [("part", first)]
    (folder / second).unlink()
    (folder / "stranger.jsonl").touch()
    shown = {file: what for _, file, what in looked(folder, deep=False)["problems"]}
    assert shown == {
        second: "is missing, with 3 records",
        "stranger.jsonl": "is in the folder and not in the manifest",
    }
