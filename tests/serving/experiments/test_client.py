"""The client of the API: whom it gives its key to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from serving.experiments.client import ExperimentsClient
from streams.errors import TryAgain


class _Redirecting(BaseHTTPRequestHandler):
    """Sends whoever asks for experiments elsewhere, and notes what they bring along there."""

    came: list[str | None]

    def do_GET(self) -> None:
        if self.path.startswith("/v1/experiments"):
            self.send_response(302)
            self.send_header("location", "/elsewhere")
        else:
            self.came.append(self.headers.get("authorization"))
            self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def redirecting() -> Iterator[str]:
    _Redirecting.came = []
    with HTTPServer(("127.0.0.1", 0), _Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_key_follows_no_redirection(redirecting: str) -> None:
    with pytest.raises(TryAgain, match="302"):
        ExperimentsClient(redirecting, "mq_secret").get("rows")
    assert _Redirecting.came == []
