"""A key is placed where every Kafka client with the default partitioner places it."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import partitioning
from streams.core.outputs import Output

IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=128)


@settings(max_examples=100)
@given(st.binary(max_size=70))
def test_the_hash_is_the_one_of_another_client(key: bytes) -> None:
    hashed = partitioning.murmur2(key)
    assert hashed == kafka_murmur2(key) & 0xFFFFFFFF
    assert 0 <= hashed < 2**32


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=70), st.integers(1, 1_024))
def test_a_key_goes_where_another_client_sends_it(key: bytes, partitions: int) -> None:
    every = list(range(partitions))
    assert partitioning.partition_of(key, partitions) == DefaultPartitioner()(key, every, every)


@pytest.mark.parametrize("size", range(9))
def test_every_length_of_tail_is_hashed(size: int) -> None:
    key = bytes(range(0xF8, 0xF8 + size)) if size < 8 else b"\xff" * size
    assert partitioning.murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF


@settings(max_examples=40)
@given(IDS, IDS, st.integers(1, 64))
def test_an_output_is_placed_by_its_key_unless_it_names_its_partition(
    tenant: str, endpoint_id: str, partitions: int
) -> None:
    key = f"{tenant}/{endpoint_id}".encode()
    assert Output("results", key, b"").place(partitions) == partitioning.partition_of(key, partitions)
    assert Output("results", key, b"", (), 63).place(partitions) == 63


def test_keys_spread_over_all_partitions() -> None:
    found = [partitioning.partition_of(f"tenant-{number}".encode(), 8) for number in range(800)]
    assert min(found.count(partition) for partition in range(8)) > 50
