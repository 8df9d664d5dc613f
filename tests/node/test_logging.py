"""What the log of a node shows of an exception."""

import subprocess
import sys

import pytest

SCRIPT = """
import logging, structlog
from node.__main__ import set_logging
from node.config import load
set_logging(load(None, {"COLLECT_LOG__FORMAT": CHOSEN}, {}))
def fail():
    password = "-".join(("canary", "99"))
    raise ValueError("oops")
for log in (logging.getLogger("other"), structlog.get_logger()):
    try:
        fail()
    except ValueError:
        log.exception("it failed")
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_local_variables_they_may_be_secrets(form: str) -> None:
    script = SCRIPT.replace("CHOSEN", repr(form))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.count("it failed") == 2
    assert done.stderr.count("ValueError: oops") == 2
    assert "canary-99" not in done.stderr
