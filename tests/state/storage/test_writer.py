"""When the writer says that bytes are durable, and what it does while the disk refuses."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from state.storage.log import Location
from state.storage.writer import LogWriter
from tests.state.storage.files import read_all

WAIT = 20.0


def test_everything_is_durable_in_order_and_said_once(tmp_path: Path) -> None:
    log, _ = read_all(tmp_path)
    writer = LogWriter(log)
    done: list[tuple[int, list[Location]]] = []

    def keeper(number: int) -> Callable[[list[Location]], None]:
        return lambda where: done.append((number, where))

    payloads = [[f"{i}:{j}".encode() for j in range(i % 3)] for i in range(200)]
    for i in range(100):  # queued before the thread runs: one group
        writer.submit(payloads[i], keeper(i))
    writer.start()
    for i in range(100, 200):
        writer.submit(payloads[i], keeper(i))
    writer.close()
    assert [i for i, _ in done] == list(range(200))
    assert [len(where) for _, where in done] == [len(p) for p in payloads]
    flat = [location for _, where in done for location in where]
    log, found = read_all(tmp_path)
    assert found == [payload for group in payloads for payload in group]
    assert [log.read(location) for location in flat] == found
    log.close()


def test_a_group_is_synced_once_and_only_then_said_to_be_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = read_all(tmp_path)
    writer = LogWriter(log)
    events: list[str] = []
    real = os.fdatasync

    def sync(fd: int) -> None:
        real(fd)
        events.append("sync")

    monkeypatch.setattr(os, "fdatasync", sync)
    for _ in range(50):
        writer.submit([b"x"], lambda _: events.append("done"))
    writer.start()
    writer.close()
    assert events == ["sync", *["done"] * 50]


@pytest.mark.parametrize("refused", ["write", "fdatasync"])
def test_a_refusing_disk_stalls_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    log, _ = read_all(tmp_path)
    stalls: list[OSError | None] = []
    stalled, recovered = threading.Event(), threading.Event()

    def on_stall(error: OSError | None) -> None:
        stalls.append(error)
        (recovered if error is None else stalled).set()

    real = getattr(os, refused)
    full = threading.Event()
    full.set()

    def call(*arguments: object) -> object:
        if full.is_set():
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, refused, call)
    writer = LogWriter(log, on_stall)
    done: list[int] = []
    writer.start()
    writer.submit([b"one"], lambda _: done.append(1))
    assert stalled.wait(WAIT)
    assert writer.stalled is not None
    writer.submit([b"two"], lambda _: done.append(2))
    assert done == []
    full.clear()
    assert recovered.wait(WAIT)
    writer.close()
    assert done == [1, 2]
    assert len(stalls) == 2
    assert writer.stalled is None
    log, found = read_all(tmp_path)
    assert found == [b"one", b"two"]
    log.close()


def test_closing_does_not_wait_for_a_disk_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = read_all(tmp_path)
    stalled = threading.Event()
    writer = LogWriter(log, lambda _: stalled.set())
    done: list[object] = []
    with monkeypatch.context() as patch:

        def refuse(fd: int) -> None:
            raise OSError(28, f"No space left on device {fd}")

        patch.setattr(os, "fdatasync", refuse)
        writer.start()
        writer.submit([b"never"], done.append)
        assert stalled.wait(WAIT)
        writer.close()
    assert done == []
    log, found = read_all(tmp_path)
    assert found == []
    log.close()


def test_a_call_comes_after_what_was_submitted_before_it_and_before_what_follows(tmp_path: Path) -> None:
    log, _ = read_all(tmp_path)
    writer = LogWriter(log)
    events: list[str] = []
    refused = [OSError("full")]

    def work() -> None:
        events.append("call")
        if refused:
            raise refused.pop()

    writer.submit([b"1"], lambda _: events.append("first"))
    writer.call(work, lambda: events.append("called"))
    writer.submit([b"2"], lambda _: events.append("second"))
    writer.start()
    deadline = threading.Event()
    writer.call(lambda: None, deadline.set)
    assert deadline.wait(WAIT)
    writer.close()
    assert events == ["first", "call", "call", "called", "second"]  # tried again when the disk refused


def test_files_that_nothing_needs_are_dropped_but_never_the_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.storage.log.FILE_BYTES", 100)
    log, _ = read_all(tmp_path)
    places = [log.append([bytes(80)])[0] for _ in range(4)]
    assert log.read(places[0]) == bytes(80)
    log.drop(places[2].file)
    assert sorted(log.files()) == sorted({place.file for place in places[2:]})
    log.drop(1 << 60)
    assert list(log.files()) == [places[-1].file]
    log.close()
    assert read_all(tmp_path)[1] == [bytes(80)]
