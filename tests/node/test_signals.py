"""What a node leaves the mesh in order for."""

import signal

import pytest

from node.__main__ import stop_signals


@pytest.mark.parametrize(("handler", "obeyed"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_terminal_that_closes_ends_it_unless_it_was_started_to_outlive_it(
    handler: signal.Handlers, *, obeyed: bool
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert (signal.SIGHUP in stop_signals()) == obeyed
        assert {signal.SIGTERM, signal.SIGINT} <= set(stop_signals())
    finally:
        signal.signal(signal.SIGHUP, before)
