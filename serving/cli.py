"""`marquee serve`: one serving process."""

from __future__ import annotations

from typing import Annotated, Final

import typer

BACKLOG: Final = 2_048
"""Connections that may wait to be accepted; more are refused by the kernel."""

KEEP_ALIVE_S: Final = 75
"""Longer than the usual idle time of load balancers (60 s), so that none sends into a connection just closed."""

SHUTDOWN_S: Final = 5
"""How long requests in work may take to end after SIGTERM; the slowest page takes a quarter of a second."""

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a background thread may hold the interpreter while a request waits; Python's own 5 ms would be the p99."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address [default: 127.0.0.1, or MARQUEE_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port [default: 8000, or MARQUEE_PORT].", min=0, max=65_535)] = None,
) -> None:
    """Serve homepages and the API (one process)."""
    import gc
    import signal
    import sys

    import uvicorn

    from serving.app import create_app
    from streams.settings import load_settings

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has shut down in order
    settings = load_settings()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    app = create_app(settings)
    gc.collect()
    gc.freeze()  # modules and routes live as long as the process; no collection need look at them again
    uvicorn.run(
        app,
        host=host or settings.host,
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
