"""Ending one incoming connection of a ROUTER, for which libzmq has no call."""

import contextlib
import os
import socket


def hang_up(descriptor: int, port: int) -> bool:
    """Shut the connection down that this process accepted on `port` with this descriptor; whether it was one.

    libzmq owns the descriptor and may meanwhile have closed it, and the number may be another connection's by
    now. So only a connection of the same port is ended: if that hits another member, it dials again.
    """
    with contextlib.suppress(OSError):
        duplicate = os.dup(descriptor)
        try:
            with socket.socket(fileno=os.dup(duplicate)) as connection:
                if connection.getsockname()[1] != port:
                    return False
                connection.shutdown(socket.SHUT_RDWR)
                return True
        finally:
            os.close(duplicate)
    return False
