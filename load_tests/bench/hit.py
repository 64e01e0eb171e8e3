"""What a cache hit costs, beside a do-nothing FastAPI route and a bare ASGI callable that send the same bytes.

Each is a uvicorn process of its own (uvloop, httptools, no access log). A few keep-alive connections ask one after
another; the servers take turns, in short rounds, so that a noisy neighbour meets all of them. Compared are requests a
second and, robuster on a busy machine, the server's CPU time a request (of all threads: with a hit's impression).

Engines are those of the environment (MARQUEE_HOT_URL and so on): on Redis a hit waits for nothing either.

    python -m load_tests.bench.hit STATE MEMBER     STATE: the folder of a platform that has a champion
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from load_tests.platform import free_port

AIM_OVER_FASTAPI: Final = 2.0
AIM_OVER_BARE: Final = 0.8
CONNECTIONS: Final = 8
START_TIMEOUT_S: Final = 60.0
_TICKS_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class HitReport:
    """Medians over rounds: requests a second, CPU microseconds a request; `over_*` is hit divided by the other's rate
    (more is better), `cpu_over_*` the other's CPU time divided by the hit's (more is better)."""

    body_bytes: int
    rounds: int
    hit_rps: float
    fastapi_rps: float
    bare_rps: float
    hit_cpu_us: float
    fastapi_cpu_us: float
    bare_cpu_us: float
    over_fastapi: float
    over_bare: float
    cpu_over_fastapi: float
    cpu_over_bare: float


def measure_hit(state: Path, member_id: str, *, rounds: int = 7, round_s: float = 1.0) -> HitReport:
    """Return how a hit compares, for a member of the platform in `state`. Raises RuntimeError if it is no fresh hit."""
    with _servers(state, member_id) as servers:
        samples: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, (process, port) in servers.items():
                samples[name].append(asyncio.run(_round(process.pid, port, _path(member_id), round_s)))
        body_bytes = len(_check_is_hit(servers["hit"][1], member_id))
    rates = {name: statistics.median(rate for rate, _ in taken) for name, taken in samples.items()}
    cpu = {name: statistics.median(cpu for _, cpu in taken) for name, taken in samples.items()}

    def ratio(other: str, index: int) -> float:
        pairs = zip(samples["hit"], samples[other], strict=True)
        return statistics.median(hit[index] / them[index] for hit, them in pairs)

    return HitReport(
        body_bytes=body_bytes,
        rounds=rounds,
        hit_rps=rates["hit"],
        fastapi_rps=rates["fastapi"],
        bare_rps=rates["bare"],
        hit_cpu_us=cpu["hit"],
        fastapi_cpu_us=cpu["fastapi"],
        bare_cpu_us=cpu["bare"],
        over_fastapi=ratio("fastapi", 0),
        over_bare=ratio("bare", 0),
        cpu_over_fastapi=1 / ratio("fastapi", 1),
        cpu_over_bare=1 / ratio("bare", 1),
    )


@contextlib.contextmanager
def _servers(state: Path, member_id: str) -> Iterator[dict[str, tuple[subprocess.Popen[bytes], int]]]:
    """Yield the three servers, warm; the other two send a body that the first one sent."""
    processes: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-hit-") as folder:
        body = Path(folder) / "body.json"
        try:
            port = free_port()
            environment = os.environ | {"MARQUEE_STATE": str(state), "MARQUEE_PORT": str(port)}
            processes["hit"] = (subprocess.Popen([sys.executable, "-m", "marquee", "serve"], env=environment), port)
            _wait_for(port, _path(member_id))
            body.write_bytes(_check_is_hit(port, member_id))
            for name in ("fastapi", "bare"):
                port = free_port()
                command = [sys.executable, "-m", "load_tests.bench.hit", "--serve", name, str(port), str(body)]
                processes[name] = (subprocess.Popen(command), port)
                _wait_for(port, _path(member_id))
            yield processes
        finally:
            for process, _ in processes.values():
                process.send_signal(signal.SIGTERM)
            for process, _ in processes.values():
                process.wait(20)


def _path(member_id: str) -> str:
    return f"/homepage?member_id={member_id}"


def _wait_for(port: int, path: str) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2).read()
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing answers on port {port}")


def _check_is_hit(port: int, member_id: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{_path(member_id)}", timeout=2) as answer:
        body: bytes = answer.read()
    served = json.loads(body)["served"]
    if (served["step"], served["cache"]) != ("fresh", "hit"):
        raise RuntimeError(f"not a fresh cache hit: {served}")
    return body


async def _round(pid: int, port: int, path: str, seconds: float) -> tuple[float, float]:
    """Return (requests a second, CPU microseconds of the server a request) of one round."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
    clients = [
        (await loop.create_connection(lambda: _Client(request), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(0.05)
    answered, cpu_s, started_s = sum(c.answered for c in clients), _cpu_s(pid), time.perf_counter()
    await asyncio.sleep(seconds)
    answered = sum(c.answered for c in clients) - answered
    elapsed_s, cpu_s = time.perf_counter() - started_s, _cpu_s(pid) - cpu_s
    for client in clients:
        client.close()
    await asyncio.sleep(0.02)
    return answered / elapsed_s, cpu_s * 1e6 / max(answered, 1)


class _Client(asyncio.Protocol):
    """Asks again as soon as it is answered, for as long as it is connected."""

    def __init__(self, request: bytes) -> None:
        self.answered = 0
        self._request = request
        self._left = 0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._left <= 0:
            end = data.index(b"\r\n\r\n") + 4  # the head comes in one piece: servers send it in one
            assert data.startswith(b"HTTP/1.1 200"), data[:200]
            start = data.lower().index(b"content-length: ", 0, end) + 16
            self._left = end + int(data[start : data.index(b"\r", start)])
        self._left -= len(data)
        if self._left == 0:
            self.answered += 1
            self._transport.write(self._request)

    def close(self) -> None:
        self._transport.abort()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


def _serve(kind: str, port: int, body: bytes) -> None:
    """Run one of the servers to compare with, set up as the serving process is."""
    import uvicorn

    uvicorn.run(
        _fastapi_app(body) if kind == "fastapi" else _bare_app(body),
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )


def _fastapi_app(body: bytes) -> Any:
    from fastapi import FastAPI, Response

    app = FastAPI()

    @app.get("/homepage")
    async def homepage() -> Response:
        return Response(body, media_type="application/json")

    return app


def _bare_app(body: bytes) -> Any:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


def main() -> None:
    """Measure and print, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arguments", nargs="+")
    parser.add_argument("--serve", action="store_true", help="run a server to compare with: KIND PORT BODY")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.serve:
        kind, port, body = options.arguments
        _serve(kind, int(port), Path(body).read_bytes())
        return
    state, member_id = options.arguments
    report = measure_hit(Path(state), member_id, rounds=options.rounds)
    print(json.dumps(asdict(report), indent=2))
    print(f"aims: {AIM_OVER_FASTAPI} x FastAPI, {AIM_OVER_BARE} x bare ASGI")


if __name__ == "__main__":
    main()
