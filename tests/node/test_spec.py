"""Specs: what is accepted becomes one canonical form, what is not is explained in full."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from node.schema import ProblemItem, TaskSpec
from node.service import Facts
from node.spec import InvalidSpec, SpecChecker
from node.spec.raw import RawSpec
from tests.node.plugs import facts, registry

GOOD: dict[str, Any] = {"source": {"plugin": "files", "path": "in.csv"}, "sink": {"plugin": "log"}}


def check(changes: dict[str, Any] | None = None, known: Facts | None = None) -> TaskSpec:
    data = SpecChecker(registry(), known or facts()).check_object({**GOOD, **(changes or {})}).data
    return msgspec.json.decode(data, type=TaskSpec)


def errors(changes: Any, known: Facts | None = None) -> dict[str, ProblemItem]:
    value = {**GOOD, **changes} if isinstance(changes, dict) else changes
    checker = SpecChecker(registry(), known or facts())
    with pytest.raises(InvalidSpec) as caught:
        checker.check_object(value)
    with pytest.raises(InvalidSpec) as again:
        checker.check_line(msgspec.json.encode(value))
    assert [item.pointer for item in again.value.items] == [item.pointer for item in caught.value.items]
    return {item.pointer: item for item in caught.value.items}


def test_a_small_task_is_stored_small() -> None:
    data = SpecChecker(registry(), facts()).check_line(msgspec.json.encode(GOOD)).data
    assert data == b'{"source":{"path":"in.csv","plugin":"files"},"sink":[{"plugin":"log"}]}'


def test_amounts_become_numbers() -> None:
    spec = check(
        {
            "limits": {"rate": "600/m", "timeout": "1h30m", "batch_bytes": "64KiB"},
            "retry": {"strategy": "fixed", "delay": "250ms"},
        }
    )
    assert (spec.limits.rate, spec.limits.timeout, spec.limits.batch_bytes) == (10, 5400, 65536)
    assert (spec.retry.strategy, spec.retry.delay, spec.retry.attempts) == ("fixed", 0.25, 5)


def test_two_ways_to_write_one_task_are_one() -> None:
    checker = SpecChecker(registry(), facts())
    short = checker.check_object(GOOD)
    long = checker.check_object(
        {
            "sink": [{"mode": "append", "plugin": "log"}],
            "source": {"path": "in.csv", "plugin": "files"},
            "priority": 5,
            "limits": {},
            "retry": {"attempts": 5, "delay": "1s"},
            "tenant": "default",
            "errors": {"max": 10000},
        }
    )
    assert long == short


def test_range_bounds_become_instants_in_utc() -> None:
    spec = check(
        {
            "mode": "range",
            "range": {"field": "t", "from": "2013-01-01", "to": "2013-02-01T01:00:00+01:00", "step": "month"},
        }
    )
    assert spec.range is not None
    assert (spec.range.from_, spec.range.to) == ("2013-01-01T00:00:00Z", "2013-02-01T00:00:00Z")


def test_a_key_means_upsert_where_the_sink_can() -> None:
    spec = check(
        {"sink": [{"plugin": "store", "path": "a", "key": ["id"]}, {"plugin": "log", "key": ["id"]}]}
    )
    assert [sink["mode"] for sink in spec.sink] == ["upsert", "append"]


def test_every_error_is_found_at_once() -> None:
    found = errors(
        {
            "nmae": "x",
            "name": "No Name",
            "mode": "incremetal",
            "priority": 11,
            "schedule": "61 * * * *",
            "timezone": "Europe/Belrin",
            "source": {"plugin": "files", "path": 3, "delimeter": ";"},
            "sink": {"plugin": "stroe"},
            "limits": {"rate": "fast", "shards": 0, "tiemout": 1},
            "placement": {"nodes": ["berlni"]},
            "retry": {"strategy": "cubic"},
        }
    )
    assert set(found) == {
        "/nmae",
        "/name",
        "/mode",
        "/priority",
        "/schedule",
        "/timezone",
        "/source/path",
        "/source/delimeter",
        "/sink/plugin",
        "/limits/rate",
        "/limits/shards",
        "/limits/tiemout",
        "/placement/nodes/0",
        "/retry/strategy",
    }
    assert found["/nmae"].remedy == "did you mean 'name'?"
    assert found["/mode"].remedy == "did you mean 'incremental'?"
    assert found["/mode"].allowed == ["full", "incremental", "range"]
    assert found["/sink/plugin"].remedy == "did you mean 'store'?"
    assert found["/placement/nodes/0"].remedy == "did you mean 'berlin'?"
    assert found["/priority"].value == 11


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"mode": "range"}, "/range", r"needs the table \[range\]"),
        ({"mode": "incremental"}, "/incremental", "needs the table"),
        ({"range": {"field": "a", "from": 1, "to": 2}}, "/range", 'no meaning in mode "full"'),
        ({"mode": "range", "range": {"field": "a", "from": 2, "to": 1}}, "/range/to", "after"),
        ({"mode": "range", "range": {"field": "a", "from": 2, "to": 2}}, "/range/to", "empty"),
        ({"mode": "range", "range": {"field": "a", "from": 2, "to": "x"}}, "/range/to", "one kind"),
        ({"mode": "range", "range": {"field": "a", "from": True, "to": 1}}, "/range/from", "bool"),
        ({"mode": "range", "range": {"field": "a", "to": 1}}, "/range/from", "missing"),
        (
            {"mode": "range", "range": {"field": "a", "from": 0, "to": 9, "step": "month"}},
            "/range/step",
            "number",
        ),
        (
            {
                "mode": "range",
                "range": {"field": "a", "from": "2013-01-01", "to": "2014-01-01", "step": "1s"},
            },
            "/range/step",
            "more than",
        ),
        (
            {"mode": "incremental", "incremental": {"field": "a", "lag": "10m"}},
            "/incremental/lag",
            "needs a key",
        ),
        (
            {
                "mode": "range",
                "range": {"field": "a", "from": 1, "to": 2},
                "source": {"plugin": "api", "url": "u"},
            },
            "/mode",
            "cannot",
        ),
        ({"sink": []}, "/sink", "at least one"),
        ({"sink": None}, "/sink", "expected"),
        ({"sink": {"plugin": "store", "path": "a", "mode": "upsert"}}, "/sink/key", "needs a key"),
        ({"sink": {"plugin": "store", "path": "a", "mode": "replace"}}, "/sink/mode", "cannot"),
        ({"sink": {"plugin": "log", "mode": "upset"}}, "/sink/mode", "unknown mode"),
        ({"sink": [GOOD["sink"], {"plugin": "log", "key": "id"}]}, "/sink/1/key", "list of field names"),
        (
            {
                "mode": "incremental",
                "incremental": {"field": "t", "lag": "1h"},
                "sink": {"plugin": "log", "key": ["id"]},
            },
            "/sink/key",
            "twice",
        ),
        ({"source": {}}, "/source/plugin", "missing"),
        ({"source": {"plugin": 3}}, "/source/plugin", "number"),
        ({"source": {"plugin": "files"}}, "/source/path", "missing"),
        ({"source": {"plugin": "files", "path": "a", "on_bad_line": "skp"}}, "/source/on_bad_line", "skp"),
        ({"source": {"plugin": "files", "path": "nowhere:a"}}, "/source/path", "no root"),
        ({"source": {"plugin": "files", "path": "../a"}}, "/source/path", "outside"),
        ({"source": {"plugin": "files", "path": "/etc/passwd"}}, "/source/path", "outside"),
        ({"sink": {"plugin": "store", "path": "lake:x/../../y"}}, "/sink/path", "outside"),
        ({"transform": [{"plugin": "rename", "fields": {"a": 1}}]}, "/transform/0/fields/a", "str"),
        (
            {"source": {"plugin": "api", "url": "u", "password": {"secret": "NONE"}}},
            "/source",
            "no live node has",
        ),
        ({"limits": {"timeout": 0}}, "/limits/timeout", "above zero"),
        ({"schedule": "every 0s"}, "/schedule", "at least 1s"),
        ({"tenant": ""}, "/tenant", "not a name"),
        ({"name": "a\n"}, "/name", "not a name"),
        ({"name": "x" * 64}, "/name", "not a name"),
        (None, "", "expected a table, got null"),
        ([GOOD], "", "expected a table, got a list"),
    ],
)
def test_one_error(changes: Any, pointer: str, words: str) -> None:
    found = errors(changes)
    assert list(found) == [pointer]
    assert re.search(words, found[pointer].message), found[pointer].message


def test_to_pause_in_a_cut_needs_three_replicas() -> None:
    alone = errors({"on_partition": "pause"}, facts(voters=2))["/on_partition"]
    assert alone.allowed == ["continue"]
    assert "this mesh has 2" in alone.message
    assert "3" in (alone.remedy or "")
    assert check({"on_partition": "pause"}, facts(voters=3)).on_partition == "pause"
    assert check({"on_partition": "continue"}).on_partition == "continue"


def test_the_replicas_of_the_home_region_vote() -> None:
    pinned = {"on_partition": "pause", "placement": {"region": "eu"}}
    known = facts(voters=3, voters_in={"us": 3, "eu": 2}, regions=frozenset({"us", "eu"}))
    found = errors(pinned, known)["/on_partition"]
    assert "region eu has 2" in found.message
    assert "pin it to a region that has 3" in (found.remedy or "")
    assert check({"on_partition": "pause"}, known).on_partition == "pause"
    known = facts(voters=2, voters_in={"us": 2, "eu": 3}, regions=frozenset({"us", "eu"}))
    assert check(pinned, known).on_partition == "pause"
    assert "this region has 2" in errors({"on_partition": "pause"}, known)["/on_partition"].message


def test_a_shared_rate_is_not_built() -> None:
    assert "not built" in errors({"limits": {"rate": "5/s", "rate_key": "x"}})["/limits/rate_key"].message


@pytest.mark.parametrize(
    "options",
    [
        {"url": "u", "password": "hunter2"},
        {"url": "u", "pasword": "hunter2"},
        {"url": "u", "headers": {"Authorization": "hunter2"}},
        {"url": 7, "password": {"secret": "API_PASSWORD", "value": "hunter2"}},
    ],
)
def test_what_may_be_a_secret_is_never_repeated(options: dict[str, Any]) -> None:
    for place in ("source", "unknown"):
        found = errors({place: {"plugin": "api", **options}, "source": {"plugin": "api", **options}})
        assert b"hunter2" not in msgspec.json.encode(list(found.values()))


def test_credentials_in_an_address_are_masked() -> None:
    found = errors({"source": {"plugin": "files", "path": "lak:ftp://me:hunter2@host/x"}})
    assert b"hunter2" not in msgspec.json.encode(list(found.values()))


def test_a_secret_is_named() -> None:
    spec = check({"source": {"plugin": "api", "url": "u", "password": {"secret": "API_PASSWORD"}}})
    assert spec.source["password"] == {"secret": "API_PASSWORD"}


def test_a_source_file_must_be_there(tmp_path: Path) -> None:
    known = facts(folders={"default": str(tmp_path)})
    assert "no such file" in errors({}, known)["/source/path"].message
    (tmp_path / "in.csv").touch()
    assert check({}, known).source["path"] == "in.csv"
    assert check({"source": {"plugin": "files", "path": "*.csv"}}, known).source["path"] == "*.csv"
    assert errors({"source": {"plugin": "files", "path": "*.tsv"}}, known)


def test_a_placed_task_may_name_roots_of_elsewhere() -> None:
    placed = {"placement": {"nodes": ["berlin"]}, "source": {"plugin": "files", "path": "there:a"}}
    assert check(placed).placement.nodes == ["berlin"]


def test_a_task_has_a_size() -> None:
    assert (
        "bytes" in errors({"source": {"plugin": "files", "path": "a", "delimiter": "x" * 70000}})[""].message
    )


@pytest.mark.parametrize("line", [b"", b"{", b"[" * 100_000, b'"\xff"', b"{}{}", b"nul"])
def test_what_is_not_json(line: bytes) -> None:
    with pytest.raises(InvalidSpec):
        SpecChecker(registry(), facts()).check_line(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([field.encode_name for field in msgspec.structs.fields(RawSpec)])
PLUGGED = st.fixed_dictionaries(
    {"plugin": st.sampled_from(["files", "api", "store", "log", "rename"]) | JSON},
    optional=dict.fromkeys(("path", "key", "mode", "url", "password", "headers", "batch", "fields"), JSON),
)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        name: JSON
        | st.sampled_from(["5s", "month", "2013-01-01", "9999-12-31T23:59:59-23:00", "50/s", "64MiB", 1e308])
        for name in (
            "field",
            "from",
            "to",
            "step",
            "lag",
            "start",
            "rate",
            "timeout",
            "delay",
            "nodes",
            "batch_bytes",
        )
    },
)
WORDS = st.sampled_from(["range", "incremental", "pause", "every 5m", "0 0 * * *", "UTC", "../etc"])
TASKS = st.dictionaries(KEYS, JSON | PLUGGED | SECTIONS | WORDS | st.lists(PLUGGED, max_size=3), max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON | TASKS)
@example(
    {
        **GOOD,
        "mode": "range",
        "range": {"field": "a", "from": "0001-01-01", "to": "9999-12-31", "step": "year"},
    }
)
@example({**GOOD, "source": {"plugin": "files", "path": "\0"}})
@example({**GOOD, "timezone": "America"})
@example({**GOOD, "timezone": "../x"})
def test_any_json_is_a_task_or_has_errors(value: Any) -> None:
    checker = SpecChecker(registry(), facts(folders={"default": "/nowhere"}))
    try:
        line = msgspec.json.encode(value)
    except UnicodeEncodeError:
        return  # lone surrogates are no JSON text
    found: list[ProblemItem] = []
    try:
        data = checker.check_line(line).data
    except InvalidSpec as error:
        found = error.items
    if found:
        assert msgspec.json.encode(found)
    else:
        spec = msgspec.json.decode(data, type=TaskSpec)
        assert spec.sink
        assert checker.check_line(data).data == data


@settings(deadline=None)
@given(
    st.sampled_from(["full", "range", "incremental"]), st.integers(0, 9), st.booleans(), st.text(max_size=5)
)
def test_the_canonical_form_is_a_fixed_point(mode: str, priority: int, keyed: bool, delimiter: str) -> None:
    value = {
        **GOOD,
        "source": {"plugin": "files", "path": "in.csv", "delimiter": delimiter},
        "sink": {"plugin": "store", "path": "out", **({"key": ["id"]} if keyed else {})},
        "mode": mode,
        "priority": priority,
        "limits": {"rate": "50/s"},
        **({mode: {"field": "t", "from": 1, "to": 9, "step": 2}} if mode == "range" else {}),
        **({mode: {"field": "t", "start": "2013-01-01"}} if mode == "incremental" else {}),
    }
    checker = SpecChecker(registry(), facts())
    once = checker.check_object(value).data
    assert checker.check_line(once).data == once


def test_of_very_many_errors_the_first_hundred_are_told() -> None:
    """To look for the nearest word of each of 60,000 wrong keys took the loop of a node five seconds."""
    many = {f"k{number}": 1 for number in range(20_000)}
    looked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for module in ("node.spec.problems", "plugins.options"):
            patch.setattr(f"{module}.nearest", lambda word, _words: looked.append(word))
        assert len(errors(many)) == 100
        assert len(errors({"source": {"plugin": "api", **many}})) == 100
        assert len(errors({"sink": [{"plugin": "log", **many}] * 3})) == 100
    assert len(looked) <= 600, "three specs, each checked twice"


def test_a_list_of_sinks_is_bounded() -> None:
    assert "64" in errors({"sink": [GOOD["sink"]] * 65})["/sink"].message
    assert len(check({"sink": [GOOD["sink"]] * 64}).sink) == 64
