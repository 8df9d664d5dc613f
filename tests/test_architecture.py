"""The import rules of the design and the manners of the tree, read from the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gossip", "node", "plugins", "sharding", "state", "tui")
EXAMPLE = ROOT / "examples" / "plugin"
IMPURE = {
    "aiohttp", "asyncio", "concurrent", "ctypes", "fcntl", "glob", "io", "logging", "multiprocessing", "os", "pathlib",
    "psutil", "queue", "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "structlog", "subprocess",
    "sys", "tempfile", "threading", "time", "urllib", "uuid", "uvloop", "zmq",
}  # fmt: skip
"""What reaches for the clock, the disk, the network, other threads or chance."""

CORES = (
    "core", "replication", "comparing", "ticket", "loading", "operations", "views", "counts", "effects", "fitness",
    "lag", "ageing", "progress", "portions",
    "messages", "schema", "execution/executor", "execution/jobs", "leases/acceptor", "leases/core", "leases/gate",
    "leases/keeper", "leases/maps", "leases/proposer", "leases/reason", "leases/wire",
)  # fmt: skip
"""Pure modules of `node`; all of `node/stewardship` is pure too."""

LAYERS = {
    "gossip": ("gossip", "msgspec"),
    "sharding": ("sharding", "gossip.identity", "xxhash"),
    "state": ("state", "gossip.identity", "pycrdt", "pyroaring", "msgspec", "xxhash"),
    "plugins": ("plugins", "msgspec", "aiohttp", "yarl"),
    "tui": ("tui", "node.client", "node.schema", "rich", "msgspec"),
    "node": (
        "node", "gossip", "sharding", "state", "plugins", "tui", "aiohttp", "cronsim", "cyclopts", "dns", "msgspec",
        "psutil", "pyroaring", "rich", "structlog", "uvloop", "yaml", "yarl", "zeroconf", "zmq",
    ),
}  # fmt: skip
"""What a package may import beside the standard library; a name stands for all that is below it."""

STDLIB = sys.stdlib_module_names
LONGEST = 400
NAMELESS = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import, wherever it stands; name is empty for `import module`."""
    for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(found, ast.Import):
            yield from ((alias.name, "") for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0, f"{path}: line {found.lineno}: a relative import"
            yield from ((found.module or "", alias.name) for alias in found.names)


def pure() -> list[Path]:
    found = [path for package in ("gossip", "sharding", "state") for path in sources(ROOT / package)]
    found = [path for path in found if "storage" not in path.parts]
    return [
        *found,
        *(ROOT / "node" / f"{core}.py" for core in CORES),
        *sources(ROOT / "node" / "stewardship"),
    ]


def below(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", pure(), ids=label)
def test_a_core_is_pure(path: Path) -> None:
    """No clock, disk, network, thread or chance of its own; `random.Random` is a type of what is handed in."""
    reached = {module for module, _ in imports(path) if module.split(".")[0] in IMPURE}
    assert not reached, f"imports {sorted(reached)}"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {name.attr for name in ast.walk(tree) if isinstance(name, ast.Attribute)
            and isinstance(name.value, ast.Name) and name.value.id == "random"}  # fmt: skip
    used |= {name for module, name in imports(path) if module == "random" and name}
    assert used <= {"Random"}, f"uses the chance of the process: random.{sorted(used)}"
    made = [call.lineno for call in ast.walk(tree) if isinstance(call, ast.Call)
            and ast.unparse(call.func) in {"random.Random", "Random"} and not call.args]  # fmt: skip
    assert not made, f"a Random without a seed in line {made}"
    clocks = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in {"now", "utcnow", "today"}
              and ast.unparse(n.value) in {"datetime", "datetime.datetime", "date", "datetime.date"}]  # fmt: skip
    assert not clocks, f"reads the clock in line {clocks}"


@pytest.mark.parametrize("package", PACKAGES)
def test_layers(package: str) -> None:
    wrong = []
    for path in sources(ROOT / package):
        for module, name in imports(path):
            whole = f"{module}.{name}" if name else module
            if (
                module.split(".")[0] in STDLIB
                or below(module, LAYERS[package])
                or below(whole, LAYERS[package])
            ):
                continue
            wrong.append(f"{label(path)} imports {whole}")
    assert not wrong, "\n".join(wrong)


def test_only_the_document_knows_the_crdt_library() -> None:
    users = [label(p) for package in PACKAGES for p in sources(ROOT / package)
             if any(below(module, ("pycrdt",)) for module, _ in imports(p))]  # fmt: skip
    assert users == ["state/document.py"]


def test_the_tui_speaks_http_only() -> None:
    """The node imports it in one place: to check that the packages are its own. A command starts it."""
    users = {
        label(p) for p in sources(ROOT / "node") if any(below(module, ("tui",)) for module, _ in imports(p))
    }
    assert users <= {"node/__main__.py", "node/cli/mesh.py"}


def test_the_plugin_example_needs_the_api_only() -> None:
    """A third party's package builds on `plugins.api` (in its tests, on `plugins.testing` too)."""
    known = (
        "plugins.api",
        "plugins.options",
        "plugins.ordering",
        "plugins.testing",
        "plugins.registry",
        "collect_example",
        "msgspec",
        "pytest",
    )
    for path in sources(EXAMPLE):
        wrong = [
            f"{m}.{n}"
            for m, n in imports(path)
            if m.split(".")[0] not in STDLIB and not below(f"{m}.{n}", known)
        ]
        assert not wrong, f"{label(path)} imports {wrong}"


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "examples"])
def test_files_are_short_and_named_after_what_they_hold(folder: str) -> None:
    for path in sources(ROOT / folder):
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= LONGEST, f"{label(path)} has {lines} lines, more than {LONGEST}: split it"
        assert path.stem not in NAMELESS, f"{label(path)}: name it after what it holds"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_every_folder_is_a_package(folder: str) -> None:
    """Without `__init__.py` two tests of one name shadow each other."""
    for path in sources(ROOT / folder):
        assert (path.parent / "__init__.py").is_file(), f"{label(path.parent)} has no __init__.py"


def test_no_star_imports() -> None:
    for folder in (*PACKAGES, "tests", "examples"):
        for path in sources(ROOT / folder):
            assert all(name != "*" for _, name in imports(path)), label(path)


def test_the_example_configuration_is_the_packaged_one() -> None:
    assert (ROOT / "node.example.toml").read_bytes() == (ROOT / "node" / "config_example.toml").read_bytes()
