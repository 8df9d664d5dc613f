"""How the interpreter is set for a node, and what it needs of the host's limits."""

import gc
import resource
import sys

LEAST_FILES = 128
"""Open files of a node with a few members, half of them for what comes; with many, or strangers about, thousands."""


def require_files() -> None:
    """Raises CannotStart where this process may not have as many files open as any node needs."""
    from node.data_directory import CannotStart

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < LEAST_FILES:
        raise CannotStart(
            f"this process may have {most} files open (ulimit -Hn), and a node needs {LEAST_FILES} at least, 8192 "
            "where strangers reach its ports: raise the limit (LimitNOFILE of its service)"
        )


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
