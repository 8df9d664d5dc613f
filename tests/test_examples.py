"""The task files under examples/ are tasks that a node takes."""

import tomllib
from pathlib import Path

import pytest

from node.cli.spec_files import read_specs
from node.service import Facts
from node.spec import InvalidSpec, SpecChecker
from plugins.registry import Registry

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.toml"))
FACTS = Facts(roots={"default": True}, secrets=frozenset({"API_TOKEN"}), nodes=frozenset({"a"}), replicas=1)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_task_is_accepted(path: Path) -> None:
    (_, spec), *more = read_specs(str(path))
    assert not more
    try:
        checked = SpecChecker(Registry.installed(), FACTS).check_object(spec)
    except InvalidSpec as refused:
        pytest.fail("\n".join(f"{item.pointer}: {item.message} ({item.remedy})" for item in refused.items))
    assert checked.name == spec["name"]


def test_examples_show_every_mode_and_collector() -> None:
    specs = [tomllib.loads(path.read_text(encoding="utf-8")) for path in FILES]
    assert {spec.get("mode", "full") for spec in specs} == {"full", "range", "incremental"}
    assert {spec["source"]["plugin"] for spec in specs} >= {"csv", "http", "sql"}
