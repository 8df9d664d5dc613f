"""How answers are printed: table, json, jsonl or csv, with stable columns; colour on a terminal only."""

import csv
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from node.cli.failures import clean

Format = Literal["table", "json", "jsonl", "csv"]

COLOURS = {
    "running": 36,
    "succeeded": 32,
    "alive": 32,
    "partial": 33,
    "suspect": 33,
    "paused": 35,
    "failed": 31,
    "dead": 31,
    "cancelled": 90,
}
"""ANSI colours of states; a word not here has none."""


def colourful() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def emit(answer: Any, rows: Sequence[Mapping[str, Any]], form: Format) -> None:
    """Print `rows` (all with the same keys: the columns) as table or csv, or `answer` as json or jsonl."""
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())
    elif form == "jsonl":
        items = answer if isinstance(answer, list) else [answer]
        for item in items:
            print(msgspec.json.encode(item).decode())
    elif form == "csv":
        print(csv_text(rows), end="")
    else:
        print(table(rows, colour=colourful()))


def table(rows: Sequence[Mapping[str, Any]], *, colour: bool = False) -> str:
    """Aligned columns under their names; numbers to the right. No rows: "nothing found"."""
    if not rows:
        return "nothing found"
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    right = [all(isinstance(row[name], int | float | None) for row in rows) for name in names]
    lines = [
        "  ".join(_pad(name.upper(), w, r) for name, w, r in zip(names, widths, right, strict=True)).rstrip()
    ]
    for line in cells:
        padded = (_paint(_pad(t, w, r), t, colour) for t, w, r in zip(line, widths, right, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def facts(pairs: Mapping[str, Any], *, colour: bool = False) -> str:
    """One `name  value` line each; what is None is left out."""
    shown = {name: _cell(value) for name, value in pairs.items() if value is not None}
    width = max(map(len, shown), default=0)
    return "\n".join(f"{name:<{width}}  {_paint(text, text, colour)}" for name, text in shown.items())


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _raw(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return clean(f"{value:,.1f}" if isinstance(value, float) else str(_raw(value)))


def _raw(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


def _pad(text: str, width: int, right: bool) -> str:  # noqa: FBT001  (a column's own fact, in a row of zips)
    return text.rjust(width) if right else text.ljust(width)


def _paint(padded: str, text: str, colour: bool) -> str:  # noqa: FBT001
    return f"\x1b[{COLOURS[text]}m{padded}\x1b[0m" if colour and text in COLOURS else padded
