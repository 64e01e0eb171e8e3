"""Reads for one event loop from a store on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.errors import TryAgain
from streams.settings import Settings
from streams.stores.live_reads import LiveState
from streams.stores.open import open_hot, open_live_reads
from streams.stores.protocol import StateEntry, tombstone
from tests.streams.stores.engines import entry


def test_the_embedded_store_is_looked_into_at_every_read(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    hot = open_hot(settings)
    reads = open_live_reads(settings, hot, ["member"])

    async def read() -> LiveState:
        await reads.start()
        return await reads.read("member", b"a", b"home")

    assert (reads.known_version("member", b"a"), asyncio.run(read())) == (0, LiveState(None, 0, None))
    hot.put("member", [entry(b"a", 5)])
    assert reads.known_version("member", b"a") == 10
    assert asyncio.run(read()) == LiveState(entry(b"a", 5).value, 10, None)
    hot.put("member", [StateEntry(b"a", tombstone(5))])
    assert (reads.known_version("member", b"a"), asyncio.run(read())) == (11, LiveState(None, 11, None))
    assert (reads.changed("member"), reads.problem) == (None, None)
    asyncio.run(reads.close())
    hot.close()


def test_nothing_is_known_of_a_store_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "hot").write_text("not a folder")
    settings = Settings(state=tmp_path)
    hot = open_hot(settings)
    reads = open_live_reads(settings, hot, ["member"])
    assert reads.known_version("member", b"a") is None
    with pytest.raises(TryAgain):
        asyncio.run(reads.read("member", b"a"))
    hot.close()
