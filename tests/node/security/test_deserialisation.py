"""Nothing that comes from outside can become code: what could make it so is used nowhere."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("gossip", "node", "plugins", "sharding", "state", "tui")
MODULES = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "jsonpickle",
    "joblib",
    "multiprocessing",
    "code",
}
CALLS = {
    "eval", "exec", "compile", "__import__", "load_all", "unsafe_load", "full_load", "recv_pyobj", "send_pyobj",
    "recv_serialized",
}  # fmt: skip
HARMLESS = {"re.compile"}


def reaches(source: str) -> list[str]:
    """What in this module could turn bytes into code, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            found += [f"line {node.lineno}: {name}" for name in names if name.split(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            name = called.rpartition(".")[2]
            if (name in CALLS or called == "yaml.load") and called not in HARMLESS:
                found.append(f"line {node.lineno}: {called}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_turns_bytes_into_code(package: str) -> None:
    wrong = [
        f"{path.name}: {hit}" for path in (ROOT / package).rglob("*.py") for hit in reaches(path.read_text())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from marshal import loads", "import yaml\nyaml.load(x)", "s.recv_pyobj()", "eval(x)",
        "import yaml\nyaml.unsafe_load(x)", "builtins.exec(x)", "import multiprocessing.pool",
    ],
)  # fmt: skip
def test_the_gate_sees(source: str) -> None:
    assert reaches(source)


def test_the_gate_lets_pass_what_is_harmless() -> None:
    assert not reaches("import re, yaml\nre.compile('x')\nyaml.safe_load(y)\nmodel.evaluate(z)")
