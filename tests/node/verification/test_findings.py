"""What is said of logs and folders."""

from typing import Any

import pytest

from node.verification.findings import of_folder, of_log

WOUNDS = [[3, "/log/00000003.log", 40, 90], [4, "/log/00000004.log", 0, 16]]
DAMAGED = [
    [7, "w.1", 2, 3, 40, "checksum"],
    [7, "w.1", 3, 3, 60, "checksum"],
    [8, "w.1", 1, 4, 16, "checksum"],
]


def test_of_a_log_file_only_its_own_damage_is_told() -> None:
    found = of_log("n", 3, WOUNDS, DAMAGED, None)
    assert [(f.offset, f.repaired, f.remedy) for f in found] == [
        (offset, False, "collect verify --repair") for offset in (40, 40, 60)
    ]


def test_a_file_that_stays_is_not_repaired() -> None:
    found = of_log("n", 3, WOUNDS, DAMAGED, {"folded": 1, "gone": False})
    assert [finding.repaired for finding in found] == [False] * 3
    assert "repair again" in found[0].remedy
    found = of_log("n", 3, WOUNDS, DAMAGED, {"folded": 1, "gone": True})
    assert [(finding.repaired, finding.remedy) for finding in found] == [(True, "")] * 3


def task(**more: Any) -> dict[str, Any]:
    return {"id": "t", "mode": "full", "written": {"r1": 10}, "only": True, "gaps": [], "field": None, **more}


def answer(**more: Any) -> dict[str, Any]:
    return {"folder": "/out", "runs": {"r1": 10}, "problems": [], "repaired": False, **more}


def test_a_folder_that_agrees_says_nothing() -> None:
    assert of_folder(task(), "n", answer()) == []
    assert of_folder(task(written={}), "n", answer(runs={}, problems=[("manifest", "m", "is missing")])) == []


@pytest.mark.parametrize(("only", "kinds"), [(True, ["records"]), (False, [])])
def test_counts_are_compared_where_there_is_one_sink(only: bool, kinds: list[str]) -> None:
    found = of_folder(task(only=only), "n", answer(runs={"r1": 9}))
    assert [finding.kind for finding in found] == kinds


def test_a_run_of_which_the_ledger_knows_nothing_is_not_compared() -> None:
    assert of_folder(task(), "n", answer(runs={"r1": 10, "older": 5})) == []


def test_a_missing_manifest_of_a_run_with_records_is_told() -> None:
    (found,) = of_folder(
        task(), "n", answer(runs={}, problems=[("manifest", "_manifest.json", "is missing")])
    )
    assert (found.kind, found.file, found.repaired) == ("manifest", "/out/_manifest.json", False)


def test_gaps_and_strangers_have_their_own_remedy() -> None:
    gaps = [[day, day + 1] for day in range(5)]
    stranger = ("part", "x.jsonl", "is in the folder and not in the manifest")
    part, gap = of_folder(task(gaps=gaps, field="day"), "n", answer(problems=[stranger]))
    assert "not part of the result" in part.remedy
    assert gap.what == "is over and lacks [0, 1), [1, 2), [2, 3) and 2 more of day"
