"""Tables, facts and csv."""

import pytest

from node.cli.output import csv_text, emit, facts, table

ROWS = [
    {"name": "a", "state": "failed", "count": 12345, "note": None},
    {"name": "long-name", "state": "running", "count": 7, "note": "x,\x1b[31m"},
]


def test_columns_are_aligned_and_numbers_stand_right() -> None:
    assert table(ROWS).splitlines() == [
        "NAME       STATE     COUNT  NOTE",
        "a          failed   12,345  -",
        "long-name  running       7  x,·[31m",
    ]


def test_colour_only_where_asked() -> None:
    assert "\x1b[31mfailed " in table(ROWS, colour=True)
    assert "\x1b" not in table(ROWS)


def test_no_rows() -> None:
    assert table([]) == "nothing found"
    assert csv_text([]) == ""


def test_facts_leave_out_what_is_not_known() -> None:
    assert facts({"id": "x", "reason": None, "records": 1000}) == "id       x\nrecords  1,000"


def test_csv_is_raw() -> None:
    assert csv_text([{"a": 1000, "b": ["x"], "c": None}]) == 'a,b,c\n1000,"[""x""]",\n'


def test_json_forms_print_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"a": 1}, {"a": 2}], [], "jsonl")
    assert capsys.readouterr().out == '{"a":1}\n{"a":2}\n'
    emit({"a": 1}, [], "json")
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'
