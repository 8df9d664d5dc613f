"""What is installed is what was pinned: the lock files hold all that is declared, by version and by hash."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {
    "requirements.lock": PROJECT["dependencies"],
    "requirements-dev.lock": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"],
}


def pinned(lock: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Name -> the requirement and its hashes."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in text.splitlines():
        requirement = Requirement(line.partition(" --hash")[0])
        found[canonicalize_name(requirement.name)] = (
            requirement,
            re.findall(r"--hash=sha256:([0-9a-f]{64})", line),
        )
    return found


def version_of(requirement: Requirement) -> str:
    (pin,) = requirement.specifier
    assert pin.operator == "==", requirement
    return pin.version


@pytest.mark.parametrize("lock", LOCKS)
def test_all_that_is_declared_is_pinned_with_hashes(lock: str) -> None:
    held = pinned(lock)
    for text in DECLARED[lock]:
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        assert name in held, f"{lock} lacks {name}; `make lock` adds it"
        assert wanted.specifier.contains(version_of(held[name][0])), f"{lock}: {held[name][0]} is not {text}"
    assert all(hashes for _, hashes in held.values())


def test_both_locks_pin_the_same_versions() -> None:
    served, developed = map(pinned, LOCKS)
    assert {name: served[name][0].specifier for name in served} == {
        name: developed[name][0].specifier for name in served
    }


def test_what_is_installed_is_what_is_pinned() -> None:
    here: dict[str, str] = {canonicalize_name(one.name): one.version for one in metadata.distributions()}
    for name, (pin, _) in pinned("requirements-dev.lock").items():
        if (pin.marker is None or pin.marker.evaluate()) and here.get(name) != version_of(pin):
            pytest.skip(f"not installed by make: {name} is {here.get(name)}, not {version_of(pin)}")
