"""The end of a node that finds itself older than what the mesh knows of it."""

import os
import signal
from pathlib import Path

from structlog import get_logger

from gossip.identity import Boot
from node.security.keys import keep_boot

log = get_logger(__name__)


def stop_outlived(data_dir: Path, boot: Boot, known: Boot) -> None:
    """Stop at once: what this life writes under its boot would be taken for what the others have already, and be
    lost. The next life has a boot of its own. `known`: the largest boot that the mesh knows of this node.
    """
    keep_boot(data_dir, known)
    log.critical(
        "the mesh knows more of this node than its data directory does, which was probably restored from a "
        "backup; the node stops and can be started again, it then takes what it lacks from the others",
        data_dir=str(data_dir),
        boot=boot,
        known=known,
    )
    os.kill(os.getpid(), signal.SIGTERM)
