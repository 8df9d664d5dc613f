"""How the interpreter is set for a node."""

import gc
import sys


def tune_interpreter() -> None:
    """Fewer, larger garbage collections: thresholds alone were worth 1.5 x in the task path. And threads that wait for
    the interpreter get it after 1 ms, not 5: each log write needs it twice before an answer (`make bench`)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    sys.setswitchinterval(0.001)
