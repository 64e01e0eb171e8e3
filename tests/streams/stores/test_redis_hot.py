"""The hot store on Redis: the contract on one server and on a cluster of three."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator

import pytest

from streams.stores.redis.address import parse_address
from tests.streams.stores.contract import StateStoreContract
from tests.streams.stores.redis_places import delete_all


class _RedisContract(StateStoreContract):
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def new_place(self, url: str) -> Iterator[Callable[[], str]]:
        place = f"{url}?prefix=test-{uuid.uuid4().hex}"
        numbers = itertools.count()
        yield lambda: f"{place}-{next(numbers)}"
        delete_all(parse_address(place))


class TestRedisHotStore(_RedisContract):
    engine = "redis"

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url


class TestRedisClusterHotStore(_RedisContract):
    engine = "redis_cluster"
    histories = 8

    @pytest.fixture
    def url(self, redis_cluster_url: str) -> str:
        return redis_cluster_url
