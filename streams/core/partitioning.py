"""Where a key belongs: Kafka's default placement, which joins partition p of one topic with partition p of another."""

import struct
from collections.abc import Callable
from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit hash of Kafka's Java client (org.apache.kafka.common.utils.Utils.murmur2), unsigned."""
    length = len(data)
    state = (_SEED ^ length) & _MASK
    for word in _words(length >> 2)(data):
        word = word * _M & _MASK
        state = (state * _M ^ (word ^ word >> 24) * _M) & _MASK
    if rest := length & 3:
        state = (state ^ int.from_bytes(data[-rest:], "little")) * _M & _MASK
    state = (state ^ state >> 13) * _M & _MASK
    return state ^ state >> 15


@lru_cache(maxsize=256)
def _words(count: int) -> Callable[[bytes], tuple[int, ...]]:
    """Reads so many words at once from the beginning of bytes."""
    return struct.Struct(f"<{count}I").unpack_from


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition, from 0 to `partitions` - 1, in which Kafka's default partitioner puts `key`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
