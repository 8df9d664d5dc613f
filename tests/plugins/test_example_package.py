"""The example package is installed as a wheel by pip, found by its entry points, and run."""

import base64
import hashlib
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "plugin"

SCRIPT = """
import asyncio, json, sys
from plugins.api import Batch, RecordError
from plugins.options import OptionErrors, decode
from plugins.registry import Registry
from plugins.testing import check_collector, plugin_context

registry = Registry.installed()
info = {f"{one.kind}:{one.name}": one for one in registry.describe()}
dates, pick = registry.collector("dates"), registry.transform("pick")
options = decode(dates.Options, {"first": "2024-02-27", "last": "2024-03-02"})
records = asyncio.run(check_collector(dates, options))
transform = pick()
asyncio.run(transform.initialize(plugin_context(decode(pick.Options, {"fields": {"date": "day"}}))))
picked = transform.apply(Batch(stream="", records=records, start=None, end=1)).records
try:
    transform.apply(Batch(stream="", records=[{"x": 1}], start=None, end=1))
except RecordError as error:
    refused = [error.record, error.code]
try:
    decode(dates.Options, {"first": "2024-02-27", "last": "2023-01-01", })
except OptionErrors as error:
    problems = [[one.pointer, one.message] for one in error.problems]
print(json.dumps({
    "versions": [info["collector:dates"].version, info["transform:pick"].version],
    "modes": info["collector:dates"].modes, "picked": picked, "refused": refused, "problems": problems,
    "file": sys.modules[dates.__module__].__file__,
}))
"""


def wheel_of(package: Path, into: Path) -> Path:
    """A wheel of a pure package, made from its pyproject.toml; the test needs no network for a build tool."""
    project: dict[str, Any] = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    files = {
        path.relative_to(package).as_posix(): path.read_bytes()
        for path in sorted((package / "collect_example").rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    files |= {
        f"{stem}.dist-info/METADATA": metadata.encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": points.encode(),
    }
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    wheel = into / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in [*files.items(), (f"{stem}.dist-info/RECORD", record.encode())]:
            archive.writestr(name, data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("example")
    target = base / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(target),
    ]
    subprocess.run([*pip, str(wheel_of(PACKAGE, base))], check=True)
    return target


def run(site: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=site, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_installed_package_is_found_and_holds_the_contract(site: Path) -> None:
    import json

    found = json.loads(run(site, "-c", SCRIPT))
    assert found["versions"] == ["1.0.0", "1.0.0"]
    assert found["modes"] == ["full", "range"]
    assert found["picked"] == [
        {"day": day} for day in ("2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02")
    ]
    assert found["refused"] == [{"x": 1}, "missing-field"]
    assert found["problems"] == [["/last", "is before first"]]
    assert Path(found["file"]).is_relative_to(site)


def test_its_own_tests_pass(site: Path) -> None:
    output = run(
        site, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PACKAGE / "tests"), "-c", os.devnull
    )
    assert "2 passed" in output
