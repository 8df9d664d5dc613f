"""The published parts of a CSV folder as one file."""

import json
from pathlib import Path
from typing import Any

import pytest

from node.execution.roots import FolderRoots
from node.service import Refused
from node.serving.export import Exporter


async def exported(base: Path, *parts: str) -> str:
    folder = base / "out"
    folder.mkdir()
    files = [{"file": f"{number}.csv"} for number in range(len(parts))]
    (folder / "_manifest.json").write_text(json.dumps({"parts": files}))
    for number, text in enumerate(parts):
        (folder / f"{number}.csv").write_text(text)
    exporter = Exporter(FolderRoots({"default": base}))
    found, at = b"", [0, 0]
    while at is not None:
        answer: dict[str, Any] = await exporter.piece({"path": "out", "plugin": "csv", "at": at})
        found, at = found + answer["data"], answer["next"]
    return found.decode()


async def test_one_header_for_all_parts_whatever_is_in_it(tmp_path: Path) -> None:
    header = '"a\nb","q""\n"\n'
    assert await exported(tmp_path, header + "1,2\n", header, header + "3,4\n") == header + "1,2\n3,4\n"


async def test_parts_with_different_columns_make_no_one_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="different columns") as caught:
        await exported(tmp_path, "a,b\n1,2\n", "b,a\n2,1\n")
    assert caught.value.problem.status == 409
