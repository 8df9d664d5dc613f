"""The published rows of a task as one file."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from node.cli.failures import OK, USAGE, Failure
from node.cli.session import HERE, Reach, Tenant, speak


def export(
    ref: Annotated[str, Parameter(name="id")],
    file: Path,
    /,
    *,
    force: Annotated[bool, Parameter(negative="")] = False,
    tenant: Tenant = None,
    reach: Reach = HERE,
) -> int:
    """Write the published rows of a task as one file, in the format of its sink.

    Parameters
    ----------
    ref: The task: its id, a unique prefix of it, or its name.
    file: The file to write; it appears when it is complete.
    force: Replace the file if it exists.
    """
    if file.exists() and not force:
        raise Failure(f"{file} exists; --force replaces it", USAGE)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        speak(reach, lambda client: client.export(ref, part, tenant=tenant))
        size = part.stat().st_size
        part.replace(file)
    except OSError as error:
        raise Failure(f"{file}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    print(f"{file}: {size:,} bytes")
    return OK
