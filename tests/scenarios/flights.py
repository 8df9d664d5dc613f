"""The flights of 2013 as source and as published rows, to be compared as multisets."""

import csv
import functools
import hashlib
import io
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plugins.sinks.files import MANIFEST

SOURCE = Path(__file__).parents[3] / "shared" / "data" / "flights.csv.zip"
ROWS = 336_776

present = pytest.mark.skipif(not SOURCE.exists(), reason=f"{SOURCE} is missing")


def spec(rate: float | None = 40_000, sink: str = "out", source: str = "flights.csv.zip") -> dict[str, Any]:
    """Every flight, month by month. The local months of the data end a few hours after those of UTC."""
    return {
        "source": {"plugin": "csv", "path": source},
        "sink": {"plugin": "jsonl", "path": sink},
        "mode": "range",
        "range": {"field": "time_hour", "from": "2013-01-01", "to": "2014-02-01", "step": "month"},
        **({"limits": {"rate": rate}} if rate else {}),
    }


def lay(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE, root / "flights.csv.zip")


def digest(row: dict[str, Any]) -> int:
    return hash(tuple(sorted(row.items())))


@functools.cache
def expected() -> "Counter[int]":
    with zipfile.ZipFile(SOURCE) as archive, archive.open("flights.csv") as raw:
        names, *lines = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
    rows = Counter(digest(dict(zip(names, line, strict=True))) for line in lines)
    assert rows.total() == ROWS
    return rows


def check_published(folder: Path, rows: "Counter[int]") -> None:
    """The manifest is complete, names exactly the visible files, and their rows are `rows`."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes())
    assert manifest["complete"], manifest
    named = [part["file"] for part in manifest["parts"]]
    visible = [path.name for path in folder.iterdir() if path.name[0] not in "._"]
    assert sorted(named) == sorted(visible)
    found: Counter[int] = Counter()
    for part in manifest["parts"]:
        data = (folder / part["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == part["sha256"], part
        lines = data.splitlines()
        assert len(lines) == part["records"], part
        found.update(digest(msgspec.json.decode(line)) for line in lines)
    assert manifest["records"] == found.total()
    missing, extra = (rows - found).total(), (found - rows).total()
    assert (missing, extra) == (0, 0), f"{missing} rows are missing, {extra} are there that should not be"
