import importlib.metadata
from pathlib import Path

import msgspec
import pytest

from plugins.api import Permanent
from plugins.collectors.bench import BenchCollector
from plugins.registry import Registry, UnknownPlugin, fault_of
from plugins.sinks.discard import DiscardSink


def points(folder: Path, **entries: str) -> list[importlib.metadata.EntryPoint]:
    return [
        importlib.metadata.EntryPoint(name=name, value=value, group="collect_node.collectors")
        for name, value in entries.items()
    ]


def test_empty_and_by_hand() -> None:
    registry = Registry()
    assert registry.names("collector") == []
    registry.add("collector", "bench", BenchCollector)
    registry.add("sink", "discard", DiscardSink)
    assert registry.collector("bench") is BenchCollector
    assert registry.sink("discard") is DiscardSink
    assert registry.find("sink", "bench") is None
    with pytest.raises(UnknownPlugin, match="did you mean bench") as caught:
        registry.collector("bnech")
    assert caught.value.suggestion == "bench"
    assert isinstance(caught.value, Permanent)
    with pytest.raises(ValueError, match="lacks open, write, commit, publish"):
        registry.add("sink", "wrong", BenchCollector)


def test_installed_plugins_work() -> None:
    registry = Registry.installed()
    infos = {f"{info.kind}:{info.name}": info for info in registry.describe()}
    for name in ("collector:csv", "collector:jsonl", "collector:sql", "collector:bench"):
        assert infos[name].error is None
    for name in ("sink:csv", "sink:jsonl", "sink:sqlite", "sink:discard"):
        assert infos[name].error is None
        assert infos[name].effect == ("at least once" if name == "sink:discard" else "exactly once")
    assert infos["collector:csv"].modes == ["full", "incremental", "range"]
    assert infos["collector:csv"].version == importlib.metadata.version("collect-node")
    assert infos["collector:csv"].options["required"] == ["path"]
    msgspec.json.encode(registry.describe())
    assert "collector:csv" in registry.versions()


def test_a_broken_plugin_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_at_import.py").write_text("raise SystemExit('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry.installed(
        points(
            tmp_path,
            bench="plugins.collectors.bench:BenchCollector",
            gone="no_such_module:Thing",
            exits="broken_at_import:Thing",
            shapeless="pathlib:Path",
        )
    )
    assert registry.collector("bench") is BenchCollector
    reasons = {info.name: info.error for info in registry.broken()}
    assert set(reasons) == {"gone", "exits", "shapeless"}
    assert "no_such_module" in str(reasons["gone"])
    assert "no licence" in str(reasons["exits"])
    assert "Options" in str(reasons["shapeless"])
    with pytest.raises(UnknownPlugin, match="does not load"):
        registry.collector("gone")


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    twice = points(tmp_path, bench="plugins.collectors.bench:BenchCollector") * 2
    registry = Registry.installed(twice)
    assert registry.collector("bench") is BenchCollector
    assert ["taken" in str(info.error) for info in registry.broken()] == [True]


def test_options_must_forbid_unknown_fields() -> None:
    class Loose(msgspec.Struct):
        a: int = 0

    class Plugin(BenchCollector):
        Options = Loose  # type: ignore[assignment]

    assert "forbid_unknown_fields" in str(fault_of("collector", Plugin))
