"""The commands against the real API: what they print, what they ask, and their exit codes."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.app import COMMANDS, run
from node.schema import Finding
from tests.node.cli.mesh import Mesh

SPEC = '{"name": "%s", "source": {"plugin": "bench"}, "sink": {"plugin": "discard"}}'


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


def task(name: str) -> str:
    return write(f"{name}.json", SPEC % name)


def done(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    assert run(argv) == code, capsys.readouterr()
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return out, err


Capture = pytest.CaptureFixture[str]


def test_submit_several_files(mesh: Mesh, capsys: Capture) -> None:
    toml = write("c.toml", 'name = "c"\n[source]\nplugin = "bench"\n[sink]\nplugin = "discard"\n')
    out, err = done(capsys, "submit", task("a"), toml, "--force", "--durability", "1")
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["a", "c"]
    assert "warning: local-000000: tied to this machine" in err
    assert [(s["force"], s["durability"]) for s in mesh.submits] == [(True, 1), (True, 1)]
    assert len({s["key"] for s in mesh.submits}) == 2


def test_a_refused_task_is_explained_and_the_others_are_taken(mesh: Mesh, capsys: Capture) -> None:
    bad = write("bad.yaml", "source: {plugin: bnch}\nsink: {plugin: discard}\nmod: full\n")
    out, err = done(capsys, "submit", bad, task("a"), code=3)
    assert "local-000000" in out
    for part in ("bad.yaml", '/source/plugin = "bnch"', "bench", "/mod"):
        assert part in err
    assert done(capsys, "submit", bad, code=1)[0] == ""


def test_submit_from_standard_input_and_wait(
    mesh: Mesh, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SPEC % "a"))
    out, _ = done(capsys, "submit", "-", "--wait")
    assert "a  succeeded  100%  10 records" in out.splitlines()[-1]
    monkeypatch.setattr("sys.stdin", io.StringIO(SPEC % "a"))
    out, err = done(capsys, "submit", "-", "--wait", "-o", "jsonl")
    assert json.loads(out)["name"] == "a"  # progress is no part of what a script reads
    assert "a  succeeded  100%  10 records" in err


def test_bulk_names_refused_lines(mesh: Mesh, capsys: Capture) -> None:
    lines = [SPEC % "x1", "", '{"source": 7}', SPEC % "x2"]
    file = write("bulk.ndjson", "\n".join(lines) + "\n")
    out, err = done(capsys, "submit", "--bulk", file, code=3)
    assert "2 accepted, 1 refused" in out
    assert "bulk.ndjson line 3:" in err
    assert (
        "2 accepted, 0 refused"
        in done(capsys, "submit", "--bulk", write("ok.ndjson", SPEC % "y" + "\n" + SPEC % "z"))[0]
    )


@pytest.mark.parametrize(
    "argv",
    [
        ("submit",),
        ("submit", "absent.toml"),
        ("submit", "--wiat", "x"),
        ("submit", "--durability", "3", "x"),
        ("pause",),
        ("pause", "a", "--all"),
        ("watch",),
        ("delete",),
        ("wait", "a", "--timeout", "soon"),
        ("retry", "a", "--delay", "x"),
        ("shwo", "a"),
        ("show", "a", "--covrage"),
        ("show",),
        ("list", "-o", "xml"),
        ("export", "a"),
        ("bench", "tasks", "--tasks", "0"),
        ("cancel", "--state", "running"),
    ],
)
def test_wrong_usage_is_2(mesh: Mesh, capsys: Capture, argv: tuple[str, ...]) -> None:
    if argv[:1] == ("cancel",):
        run(["submit", task("a")])
        mesh.tasks["local-000000"].state = "running"
    done(capsys, *argv, code=2)
    assert mesh.told == []


def test_list_show_and_forms(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a"), task("b")])
    capsys.readouterr()
    assert len(done(capsys, "list")[0].splitlines()) == 3
    out, err = done(capsys, "list", "--limit", "1", "-o", "csv")
    assert out.startswith("id,name,tenant,state")
    assert "more than 1" in err
    assert [json.loads(line)["name"] for line in done(capsys, "list", "-o", "jsonl")[0].splitlines()] == [
        "a",
        "b",
    ]
    assert "nothing found" in done(capsys, "list", "--state", "failed")[0]
    assert "state" in done(capsys, "show", "a")[0]
    assert json.loads(done(capsys, "show", "a", "-o", "json")[0])["name"] == "a"
    assert json.loads(done(capsys, "show", "a", "--spec")[0])["name"] == "a"
    assert "r1" in done(capsys, "show", "a", "--runs")[0]
    assert "50" in done(capsys, "show", "a", "--shards")[0]
    coverage = done(capsys, "show", "a", "--coverage")[0]
    assert "gap" in coverage
    assert "2013-02-01" in coverage
    why = done(capsys, "why", "a")[0]
    assert "- no eligible node" in why
    assert "no root lake" in why
    assert "gone" in done(capsys, "errors", "a")[0]


def test_options_may_stand_before_the_command(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a"), task("b")])
    capsys.readouterr()
    assert (
        done(capsys, "-o", "csv", "list", "--limit", "1")[0]
        == done(capsys, "list", "--limit", "1", "-o", "csv")[0]
    )
    assert "does not keep who may be" in done(capsys, "-o", "json", "token", "list", code=1)[1]
    assert "list" in done(capsys, "--help")[0]
    assert "Unknown" in done(capsys, "--nothing", "nowhere", code=2)[1]


def test_an_unknown_and_an_ambiguous_task(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a"), task("b")])
    assert "0 tasks are called zzz" in done(capsys, "show", "zzz", code=1)[1]
    assert "2 tasks are called local" in done(capsys, "show", "local", code=1)[1]


def test_wait(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a"), task("bad"), task("dead")])
    assert "succeeded" in done(capsys, "wait", "a", "--timeout", "60")[0]
    assert "failed" in done(capsys, "wait", "bad", code=1)[0]
    done(capsys, "wait", "bad", "--until", "failed")
    done(capsys, "wait", "dead", code=3)
    mesh.tasks["local-000000"].state = "paused"
    assert "is paused, not succeeded, after 0 s" in done(capsys, "wait", "a", "--timeout", "0", code=1)[1]


def test_watch_many(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a"), task("dead")])
    capsys.readouterr()
    out, _ = done(capsys, "watch", "a", "dead", code=3)
    states = [line.split()[1] for line in out.splitlines() if line.startswith("a ")]
    assert states[-1] == "succeeded"
    assert "running" in states


def test_control_by_id(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a"), task("b")])
    capsys.readouterr()
    assert "paused" in done(capsys, "pause", "a")[0]
    assert "0 tasks are called q" in done(capsys, "resume", "a", "q", code=3)[1]
    done(capsys, "retry", "a", "--strategy", "linear", "--attempts", "3", "--delay", "250ms")
    done(capsys, "cancel", "b", "--yes")
    done(capsys, "delete", "b", "--yes")
    assert [(ref[-1], action) for ref, action, _ in mesh.told] == [
        ("0", "pause"),
        ("0", "resume"),
        ("0", "retry"),
        ("1", "cancel"),
        ("1", "delete"),
    ]
    given = mesh.told[2][2]
    assert (given["strategy"], given["attempts"], given["delay"]) == ("linear", 3, 0.25)


def test_control_by_filter(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a"), task("b")])
    mesh.tasks["local-000001"].state = "failed"
    capsys.readouterr()
    assert "1 tasks told" in done(capsys, "retry", "--state", "failed", "--yes")[0]
    assert "no task matches" in done(capsys, "retry", "--state", "paused")[0]
    assert "2 tasks told" in done(capsys, "cancel", "--all", "--yes")[0]
    assert len(mesh.told) == 3


def test_dead_letters_are_listed_edited_and_replayed(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("dead")])
    capsys.readouterr()
    out, _ = done(capsys, "errors", "dead", "--dead-letters")
    letters = [json.loads(line) for line in out.splitlines()]
    assert [letter["id"] for letter in letters] == ["l0", "l1", "l2"]
    file = write("bad.jsonl", out.replace('"x"', "7"))
    done(capsys, "retry", "dead", "--dead-letters", "--file", file)
    assert [letter["record"] for letter in mesh.told[-1][2]["letters"]] == [{"n": 7}] * 3
    done(capsys, "retry", "dead", "--dead-letters", "--code", "type", "--id", "l1")
    assert (mesh.told[-1][2]["codes"], mesh.told[-1][2]["ids"]) == (["type"], ["l1"])
    broken = write("broken.jsonl", "{}\n{\n")
    assert "broken.jsonl:2" in done(capsys, "retry", "dead", "--file", broken, code=2)[1]


def test_cluster_and_plugins(mesh: Mesh, capsys: Capture) -> None:
    out, err = done(capsys, "cluster")
    assert "first" in out
    assert "warning: one copy only" in err
    assert json.loads(done(capsys, "cluster", "-o", "json")[0])["id"] == "mesh"
    assert "csv" in done(capsys, "plugins")[0]


def test_export_appears_whole_and_replaces_only_when_told(mesh: Mesh, capsys: Capture) -> None:
    run(["submit", task("a")])
    capsys.readouterr()
    assert "16 bytes" in done(capsys, "export", "a", "rows.jsonl")[0]
    assert Path("rows.jsonl").read_text() == '{"n":1}\n{"n":2}\n'
    assert "--force replaces it" in done(capsys, "export", "a", "rows.jsonl", code=2)[1]
    done(capsys, "export", "a", "rows.jsonl", "--force")
    done(capsys, "export", "zzz", "other", code=1)
    assert sorted(path.name for path in Path().iterdir()) == ["a.json", "rows.jsonl"]


def test_bench_tasks_counts_all(mesh: Mesh, capsys: Capture) -> None:
    out, _ = done(capsys, "bench", "tasks", "--tasks", "40", "--batch", "10", "--connections", "2")
    assert "40 of 40 accepted" in out
    assert "40 ids asked for, 0 not found" in out
    assert len({json.dumps(t.spec["source"]) for t in mesh.tasks.values()}) == 40


def test_bench_records_cleans_up(mesh: Mesh, capsys: Capture) -> None:
    out, _ = done(capsys, "bench", "records", "--rows", "10")
    assert "5 records/s (2.00 s)" in out
    assert list(Path().iterdir()) == []


def test_nobody_answers_is_4(mesh: Mesh, capsys: Capture) -> None:
    assert "no node answers" in done(capsys, "list", "--url", "http://127.0.0.1:9", code=4)[1]


def test_another_node_answers_when_the_first_does_not(mesh: Mesh, capsys: Capture) -> None:
    assert "first" in done(capsys, "cluster", "--url", "http://127.0.0.1:9", "--url", mesh.url)[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: Capture) -> None:
    assert f"Usage: collect {name}" in done(capsys, name, "--help")[0]


def test_help_loads_no_heavy_library() -> None:
    """The start is quick because nothing is imported that the command does not need."""
    code = (
        "import sys\nfrom node.cli.app import run\nassert run(['--help']) == 0\n"
        "print(sorted({'aiohttp', 'yaml', 'zmq', 'pycrdt', 'rich.live'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stdout.splitlines()[-1] == "[]"


def test_drain_is_followed_to_its_end(mesh: Mesh, capsys: Capture) -> None:
    out, _ = done(capsys, "drain", "first")
    assert [line.split()[:2] for line in out.splitlines()[:-1]] == [
        ["first", "50%"],
        ["first", "88%"],
        ["first", "100%"],
    ]
    assert "4 of 4 copies not yet elsewhere  1 jobs running" in out
    assert "waits for old, dead" in out
    assert out.splitlines()[-1].endswith("it is safe to stop")
    assert "is being drained" in done(capsys, "drain", "first", "--no-wait")[0]
    mesh.drains = []
    assert "not drained any more" in done(capsys, "drain", "first", "--cancel")[0]
    assert [(ref, action) for ref, action, _ in mesh.told] == [
        ("first", "drain"),
        ("first", "drain"),
        ("first", "undrain"),
    ]
    assert "no node other" in done(capsys, "drain", "other", code=1)[1]
    assert "not both" in done(capsys, "drain", "first", "--cancel", "--forget", code=2)[1]
    assert "is alive" in done(capsys, "drain", "first", "--forget", code=1)[1]


def test_verify_of_a_sound_mesh(mesh: Mesh, capsys: Capture) -> None:
    out, _ = done(capsys, "verify", "--deep")
    assert out.endswith("1 parts: all sound\n")
    out, _ = done(capsys, "verify", "-o", "json")
    assert json.loads(out)["findings"] == []


def test_verify_names_differences_and_remedies(mesh: Mesh, capsys: Capture) -> None:
    mesh.findings = [
        Finding(kind="log", what="bytes 4 to 9 are damaged", file="/f.log", offset=4, remedy="mend it")
    ]
    out, _ = done(capsys, "verify", code=1)
    for part in ("/f.log byte 4", "bytes 4 to 9 are damaged", "remedy: mend it", "1 differences"):
        assert part in out
    out, _ = done(capsys, "verify", "--repair", "-o", "jsonl")
    assert json.loads(out)["repaired"]


def test_verify_that_could_not_look_is_3(mesh: Mesh, capsys: Capture) -> None:
    mesh.findings = [Finding(kind="unchecked", what="could not be asked")]
    assert "1 not checked" in done(capsys, "verify", code=3)[0]
