"""Redis behind TLS and a password."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.errors import TryAgain
from streams.settings import Settings
from streams.stores.live_reads import LiveState
from streams.stores.open import open_hot, open_live_reads
from tests.streams.stores.engines import entry

CERTIFICATE = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
SERVER = "redis-server --port 0 --tls-cert-file cert.pem --tls-key-file key.pem --tls-ca-cert-file cert.pem"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    if not (shutil.which("openssl") and shutil.which("redis-server")):
        pytest.skip("needs openssl and redis-server")
    command = [*CERTIFICATE.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [*SERVER.split(), "--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", "secret"]
    log = (tmp_path / "log").open("w")
    with log, subprocess.Popen([*command, "--bind", "127.0.0.1", "--save", ""], cwd=tmp_path, stdout=log) as server:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
        server.kill()


def test_states_and_pages_go_through_tls_to_a_server_whose_certificate_is_trusted(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate(
        {
            "hot_url": f"rediss://127.0.0.1:{port}/1",
            "redis_password": "secret",
            "redis_timeout_s": 2.0,
        }
    )

    async def read() -> LiveState:
        reads = open_live_reads(settings, store, ["member"])
        await reads.start()
        try:
            return await reads.read("member", b"a")
        finally:
            await reads.close()

    store = open_hot(settings)
    with pytest.raises(TryAgain, match="CERTIFICATE_VERIFY_FAILED"):
        store.put("member", [entry(b"a", 5)])
    with pytest.raises(TryAgain, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(read())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert store.put("member", [entry(b"a", 5)]) == [True]
    assert asyncio.run(read()) == LiveState(entry(b"a", 5).value, 10, None)
    store.close()
