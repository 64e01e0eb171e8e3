"""`marquee serve`: one serving process."""

from __future__ import annotations

import socket
from typing import Annotated, Final

import typer

from streams.errors import FixRequest

BACKLOG: Final = 2_048
"""Connections that may wait to be accepted; more are refused by the kernel."""

KEEP_ALIVE_S: Final = 75
"""Longer than the usual idle time of load balancers (60 s), so that none sends into a connection just closed."""

SHUTDOWN_S: Final = 5
"""How long requests in work may take to end after SIGTERM; the slowest page takes a quarter of a second."""

START_FAILED: Final = 3
"""Exit code when serving could not start, as uvicorn's own command has it."""

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a background thread may hold the interpreter while a request waits; Python's own 5 ms would be the p99."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address [default: 127.0.0.1, or MARQUEE_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port [default: 8000, or MARQUEE_PORT].", min=0, max=65_535)] = None,
    fd: Annotated[
        int | None,
        typer.Option(
            help="Listen on this inherited socket instead; whoever holds it open lets nobody meet a closed port.",
            envvar="MARQUEE_LISTEN_FD",
            min=0,
        ),
    ] = None,
) -> None:
    """Serve homepages and the API (one process)."""
    import gc
    import signal
    import sys

    import uvicorn

    from serving.app import create_app
    from streams.settings import load_settings

    inherited = [] if fd is None else [listening_socket(fd)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has shut down in order
    settings = load_settings()
    if host is not None:
        settings = settings.model_copy(update={"host": host})  # whether reading is open depends on who can reach it
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    app = create_app(settings)
    gc.collect()
    gc.freeze()  # modules and routes live as long as the process; no collection need look at them again
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port if port is None else port,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    server.run(sockets=inherited or None)
    if not server.started:
        sys.exit(START_FAILED)


def listening_socket(fd: int) -> socket.socket:
    """Return the socket of a file descriptor. Raises FixRequest unless it is one of a stream that listens."""
    try:
        found = socket.socket(fileno=fd)
    except OSError as error:
        raise FixRequest("--fd", f"{fd} is no socket of this process ({error.strerror})") from None
    if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.detach()
        raise FixRequest("--fd", f"{fd} is a socket that does not listen")
    return found
