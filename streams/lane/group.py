"""A process's membership of a service's consumer group: partitions come and go, and with them lanes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.settings import Settings
from streams import metrics
