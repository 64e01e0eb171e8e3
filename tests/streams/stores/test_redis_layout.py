"""Addresses, names of keys, who owns what, and what may be believed: all without a server."""

from __future__ import annotations

from collections import Counter

import pytest
import redis.crc
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import FixRequest, SlowDown, TryAgain
from streams.settings import Settings
from streams.stores.redis.address import Address, Node, address_of, parse_address
from streams.stores.redis.errors import reply_error
from streams.stores.redis.keys import BUCKETS, SLOTS, TAGS, Keys, bucket_of, slot_of
from streams.stores.redis.known import Known
from streams.stores.redis.servers import eviction_policy
from streams.stores.redis.topology import owners_of


def test_an_address_is_read_from_a_url() -> None:
    assert parse_address("redis://h") == Address((Node("h", 6379),))
    assert parse_address("rediss://me:p%40ss@h:1/2?prefix=x") == Address(
        (Node("h", 1),), False, True, 2, "me", "p@ss", "x"
    )
    assert parse_address("redis+cluster://a:1,[::1]:2", "secret") == Address(
        (Node("a", 1), Node("::1", 2)), True, password="secret"
    )
    settings = Settings.model_validate({"hot_url": "redis://h", "redis_password": "secret"})
    assert address_of(settings).password == "secret"
    assert "secret" not in repr(address_of(settings))


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://h:port",
        "redis://h:99999",
        "redis://h/name",
        "redis://h?prefix={}",
        "redis://h?prefix=a%20b",
        "redis://a,b",
        "redis+cluster://a,b/1",
        "redis://:hush@h:x",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(FixRequest, match="MARQUEE_HOT_URL") as caught:
        parse_address(url)
    assert "hush" not in str(caught.value)


def test_buckets_share_the_slots_of_a_cluster_evenly() -> None:
    share = SLOTS // BUCKETS
    assert [slot_of(tag) // share for tag in TAGS] == list(range(BUCKETS))
    counts = Counter(bucket_of(b"member-%d" % number) for number in range(100 * BUCKETS))
    assert len(counts) == BUCKETS
    assert max(counts.values()) < 200


@given(st.binary(min_size=1, max_size=40) | st.sampled_from([b"{a}", b"}:", b"{", b"}", b"a}:{b}:c"]))
def test_a_key_of_any_bytes_is_named_in_its_buckets_slot_and_found_in_the_name_again(key: bytes) -> None:
    names = Keys("p", "member")
    slots = {redis.crc.key_slot(name) for name in (names.state(key), names.pages(key), names.indexes[bucket_of(key)])}
    assert slots == {slot_of(TAGS[bucket_of(key)])}
    assert names.key(names.state(key)) == key
    assert names.key(names.pages(key)) is Keys("p", "member@2").key(names.state(key)) is None


@pytest.mark.parametrize("kind", ["", "a:b", "a{b", "a}b", "a b"])
def test_a_kind_that_would_blur_names_is_refused(kind: str) -> None:
    with pytest.raises(FixRequest, match="kind"):
        Keys("p", kind)


def test_owners_are_those_of_the_buckets_slots() -> None:
    reply = [
        [0, 8191, [b"a", 1, b"id", []], [b"replica", 9, b"id", []]],
        [8192, 16000, [b"", 2, b"id"]],
    ]
    owners = owners_of(reply, Node("asked", 5))
    assert owners[:128] == (Node("a", 1),) * 128
    assert owners[128:250] == (Node("asked", 2),) * 122
    assert owners[-1] is None


def test_errors_say_what_to_do() -> None:
    assert isinstance(reply_error("OOM command not allowed when used memory > 'maxmemory'.", "h"), SlowDown)
    for message in ("LOADING Redis is loading", "CLUSTERDOWN The cluster is down", "READONLY", "MOVED 1 h:1", "BUSY"):
        assert isinstance(reply_error(message, "h"), TryAgain)


def test_the_eviction_policy_is_read_from_what_redis_says_of_its_memory() -> None:
    assert eviction_policy(b"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n") == "allkeys-lru"
    assert eviction_policy(b"") == ""


def test_what_was_read_is_known_until_it_changes() -> None:
    names = Keys("p", "member")
    known = Known({"member": names})
    known.remember("member", b"a", 4)
    known.remember("member", b"b", 0)
    known.remember("other", b"a", 4)
    assert known.version("other", b"a") is None
    assert known.take_changed("member") is None
    known.forget([names.state(b"a"), names.state(b"never read"), names.pages(b"b"), b"p:state:member:odd"])
    assert (known.version("member", b"a"), known.version("member", b"b")) == (None, 0)
    assert (known.take_changed("member"), known.take_changed("member")) == ({b"a", b"never read"}, set())
    known.forget_all()
    assert known.version("member", b"b") is known.take_changed("member") is known.take_changed("other") is None


def test_what_is_known_is_bounded() -> None:
    names = Keys("p", "member")
    known = Known({"member": names}, max_versions=2, max_changed=2)
    for key in (b"a", b"b"):
        known.remember("member", key, 2)
    assert known.version("member", b"a") == 2
    known.remember("member", b"c", 2)
    assert [known.version("member", key) for key in (b"a", b"b", b"c")] == [2, None, 2]
    known.take_changed("member")
    known.forget(map(names.state, (b"1", b"2")))
    assert known.take_changed("member") == {b"1", b"2"}
    known.forget(map(names.state, (b"1", b"2", b"3", b"4")))
    assert (known.take_changed("member"), known.take_changed("member")) == (None, set())
