"""A small HTTP server beside the agents: /metrics for Prometheus, /readyz with the reasons why agents wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.agents.health import AgentHealth


@contextmanager
def health_server(health: AgentHealth, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve while the block runs; yield the port (the one chosen, if `port` is 0). Raises OSError if it is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())
            elif self.path == "/readyz":
                status = HTTPStatus.OK if health.is_ready() else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, "application/json", msgspec.json.encode({"agents": health.reasons()}))
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there are /metrics and /readyz\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
            """Say nothing: who scrapes metrics is not worth a line each."""

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
