"""The socket that serving listens on, held by its supervisor.

Serving gets it by its file descriptor (`marquee serve --fd N`). It stays open while a process is started again, so that
connections made meanwhile wait in its backlog and are answered then, instead of being refused.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from streams.errors import FixRequest

BACKLOG: Final = 2_048
"""Connections that may wait to be accepted; the kernel may hold fewer (net.core.somaxconn). More are refused."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. Raises FixRequest if that cannot be used, or is used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = (
            os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        )  # without the address again
        raise FixRequest("port", f"{host}:{port} cannot be used ({reason}); choose another with PORT=n") from None
