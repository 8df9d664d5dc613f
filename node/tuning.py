"""How the interpreter is set for a node."""

import gc
import sys


def tune_interpreter() -> None:
    """Before the node's modules are loaded. Fewer, larger garbage collections: thresholds alone were worth 1.5 x in the
    task path, and a tenth of the CPU time of a start. And threads that wait for the interpreter get it after 1 ms,
    not 5: each log write needs it twice before an answer (`make bench`)."""
    gc.set_threshold(200_000, 50, 100)
    sys.setswitchinterval(0.001)


def freeze_loaded() -> None:
    """When all is loaded: what exists by now stays, and need not be walked by later collections."""
    gc.collect()
    gc.freeze()
