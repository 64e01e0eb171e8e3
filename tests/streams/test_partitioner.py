"""The partitioner agrees with Kafka's, by the values that Kafka and its clients publish in their own tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.partitioner import MAX_CACHED_KEY_BYTES, murmur2, partition_for

SIGNED_BY_KEY = {
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
    # librdkafka, rdmurmur2.c
    b"kafka": -798503068,
    b"giberish123456789": -1890243828,
    b"1234": -1614185708,
    b"234": -406844982,
    b"34": -2026295078,
    b"4": 1514888353,
}

PARTITION_OF_1000_BY_KEY = {
    # aiokafka and kafka-python, test_murmur2_java_compatibility (output of Kafka's Java partitioner)
    b"": 681,
    b"a": 524,
    b"ab": 434,
    b"abc": 107,
    b"123456789": 566,
    b"\x00 ": 742,
}


@pytest.mark.parametrize(("key", "signed"), SIGNED_BY_KEY.items())
def test_murmur2_gives_the_published_values(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@pytest.mark.parametrize(("key", "partition"), PARTITION_OF_1000_BY_KEY.items())
def test_a_key_lands_in_the_partition_that_kafkas_java_client_picks(key: bytes, partition: int) -> None:
    assert partition_for(key, 1000) == partition


@given(st.binary(max_size=3 * MAX_CACHED_KEY_BYTES), st.integers(1, 1024))
def test_every_key_has_one_partition_within_the_count_remembered_or_not(key: bytes, count: int) -> None:
    partition = partition_for(key, count)
    assert 0 <= partition < count
    assert partition == (murmur2(key) & 0x7FFFFFFF) % count == partition_for(key, count)
