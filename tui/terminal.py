"""The keyboard: bytes of a terminal in raw mode as the names of keys."""

import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NAMES = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x1b": "esc",
    "\x7f": "backspace",
    "\b": "backspace",
}
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)


def keys(data: bytes) -> list[str]:
    """The keys in what was read at once; sequences that mean nothing here are left out."""
    found = [NAMES.get(part, part) for part in _KEY.findall(data.decode(errors="ignore"))]
    return [key for key in found if (len(key) > 1 and key.isalpha()) or (len(key) == 1 and key.isprintable())]


@contextmanager
def keyboard() -> Iterator[Callable[[], list[str]]]:
    """While inside, keys come at once and unechoed; gives a function that reads those pressed."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield lambda: keys(os.read(fd, 256))
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
