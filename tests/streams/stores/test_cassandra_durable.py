"""The durable store on Cassandra: the contract, and what its timestamps promise beside it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.streams.stores.cassandra_places import own_keyspace
from tests.streams.stores.contract import DurableStoreContract


@pytest.fixture(scope="module")
def keyspace_url(cassandra_url: str) -> Iterator[str]:
    with own_keyspace(cassandra_url) as url:
        yield url


class TestCassandraDurableStore(DurableStoreContract):
    engine = "cassandra"

    @pytest.fixture
    def new_place(self, keyspace_url: str) -> Callable[[], str]:
        return lambda: f"{keyspace_url}#{uuid.uuid4().hex[:12]}"
