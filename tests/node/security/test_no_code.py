"""Nothing that comes in is run: a body that would leave a file behind, and names that would import or look inside."""

import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from node.cli.failures import Failure
from node.cli.spec_files import read_specs
from node.spec import InvalidSpec, SpecChecker
from tests.fuzz.targets import TARGETS
from tests.node.api.conftest import serve
from tests.node.plugs import facts, registry

NAMES = [
    "os:system", "plugins.collectors.csv:CsvCollector", "collect_node.collectors", "file.__class__", "../file",
    "/usr/bin/env", "__import__('os')", "file\x00", "{0.__class__}", "file[extra]", "builtins", "",
]  # fmt: skip
TEMPLATES = [
    "{x.__class__.__mro__}",
    "{{ 7 * 7 }}",
    "${PATH}",
    "%(path)s",
    "$(touch x)",
    "`touch x`",
    "!!python/name:os",
]


class Touch:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def canaries(path: Path) -> list[bytes]:
    """Bodies that make the file if they are taken for code."""
    pickled = [pickle.dumps(Touch(path), protocol) for protocol in (0, 2, 5)]
    return [*pickled, f"!!python/object/apply:os.system ['touch {path}']".encode()]


def test_the_canary_sings(tmp_path: Path) -> None:
    for body in canaries(tmp_path / "canary")[:3]:
        pickle.loads(body)
        (tmp_path / "canary").unlink()


@pytest.mark.parametrize("target", TARGETS)
def test_no_decoder_runs_what_it_reads(target: str, tmp_path: Path) -> None:
    for body in canaries(tmp_path / "canary"):
        TARGETS[target](body)
    assert not (tmp_path / "canary").exists()


async def test_no_request_runs_its_body(tmp_path: Path) -> None:
    server = await serve()
    async with ClientSession(server.url) as http:
        for body in canaries(tmp_path / "canary"):
            for path in ("/v1/tasks", "/v1/tasks/batch", "/v1/tasks/x/pause", "/v1/join-tokens"):
                for kind in (
                    "application/json",
                    "application/x-ndjson",
                    "application/octet-stream",
                    "application/x-yaml",
                ):
                    async with http.post(path, data=body, headers={"Content-Type": kind}) as answer:
                        assert answer.status in (200, 400, 404, 405, 415, 422), (
                            path,
                            kind,
                            await answer.text(),
                        )
    await server.stop()
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json", "toml", "txt"])
def test_no_task_file_is_run(suffix: str, tmp_path: Path) -> None:
    for body in canaries(tmp_path / "canary"):
        file = tmp_path / f"task.{suffix}"
        file.write_bytes(body)
        with pytest.raises(Failure):
            read_specs(str(file))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["source", "sink", "transform"])
def test_a_plugin_is_a_name_that_is_installed(name: str, place: str) -> None:
    task: dict[str, Any] = {"source": {"plugin": "files", "path": "x"}, "sink": {"plugin": "log"}}
    task[place] = [{"plugin": name}] if place == "transform" else {"plugin": name, "path": "x"}
    with pytest.raises(InvalidSpec) as refused:
        SpecChecker(registry(), facts()).check_object(task)
    assert any(item.pointer.startswith(f"/{place}") for item in refused.value.items)


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_text_is_kept_as_it_stands(text: str) -> None:
    task = {"source": {"plugin": "files", "path": text}, "sink": {"plugin": "log"}}
    kept = msgspec.json.decode(SpecChecker(registry(), facts()).check_object(task).data)
    assert kept["source"]["path"] == text
