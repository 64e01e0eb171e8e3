from __future__ import annotations

import threading
import time

from serving.health import EngineProbe


def test_an_engine_that_hangs_keeps_no_other_from_answering_and_is_asked_once() -> None:
    gate, asked = threading.Event(), []

    def hang() -> None:
        asked.append(1)
        gate.wait(5)

    def fail() -> None:
        raise OSError("refused")

    probe = EngineProbe({"log": hang, "hot": fail, "durable": lambda: 1}, answer_s=0.05)
    started_s = time.monotonic()
    for _ in range(3):
        assert probe.ask() == {"log": "no answer within 0.05 s", "hot": "refused", "durable": None}
    assert time.monotonic() - started_s < 1
    assert asked == [1]
    gate.set()
    time.sleep(0.05)
    assert probe.ask()["log"] is None
    probe.close()
