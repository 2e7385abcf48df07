"""Topics as `schemas.topics` wants them: created where they are missing, compared where they exist."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.settings import Settings
from schemas.topics import Topic, topic_map
from streams.lane import connections, private

logger = logging.getLogger(__name__)

WAIT_S = 1.0


@dataclass(frozen=True)
class Difference:
    """A topic that is not as it should be. `setting` is a Kafka topic setting, or `partitions`."""

    topic: str
    setting: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, should be {self.wanted}"


@dataclass(frozen=True)
class Provisioned:
    """What `provision` did: the topics created, those that were there, and how these differ."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    differences: tuple[Difference, ...]


async def provision(settings: Settings) -> Provisioned:
    """Create every topic that is missing; change none that exists. Raises aiokafka's errors."""
    wanted = {settings.topic(topic.name): topic for topic in topic_map(settings.tiers_ms)}
    admin = connections.admin(settings)
    await admin.start()
    try:
        present = set(await admin.list_topics()) & set(wanted)
        created = await _create(admin, settings, {name: row for name, row in wanted.items() if name not in present})
        existing = tuple(sorted(set(wanted) - set(created)))
        differences = await _compare(admin, settings, {name: wanted[name] for name in existing})
        return Provisioned(created, existing, tuple(differences))
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, settings: Settings, missing: dict[str, Topic]) -> tuple[str, ...]:
    if not missing:
        return ()
    response: Any = await admin.create_topics(
        [
            NewTopic(name, settings.partitions, settings.replication, topic_configs=row.config())
            for name, row in missing.items()
        ]
    )
    created = []
    for name, code, *message in response.topic_errors:
        if code == 0:
            created.append(name)
        elif for_code(code) is not TopicAlreadyExistsError:  # somebody else was quicker: as good
            raise for_code(code)(f"{name}: {message[0] if message else ''}")
    return tuple(created)


async def _compare(admin: AIOKafkaAdminClient, settings: Settings, existing: dict[str, Topic]) -> list[Difference]:
    if not existing:
        return []
    differences: list[Difference] = []
    for found in await admin.describe_topics(list(existing)):
        if len(found["partitions"]) != settings.partitions:
            differences.append(
                Difference(found["topic"], "partitions", str(settings.partitions), str(len(found["partitions"])))
            )
    for name, values in (await _configs(admin, list(existing))).items():
        differences += [
            Difference(name, setting, value, str(values.get(setting)))
            for setting, value in existing[name].config().items()
            if values.get(setting) != value
        ]
    return differences


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    response: Any
    for response in await admin.describe_configs(resources):
        for _code, _message, _kind, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def record_limits(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, int]:
    """The largest record of each topic without prefix, as the cluster has it now."""
    names = {settings.topic(topic.name): topic.name for topic in topic_map(settings.tiers_ms)}
    configs = await _configs(admin, list(names))
    return {
        names[name]: int(values["max.message.bytes"])
        for name, values in configs.items()
        if "max.message.bytes" in values
    }


class WrongTopics(Exception):
    """A topic exists with the wrong number of partitions: joining it would mix partitions up."""


async def missing_topics(admin: AIOKafkaAdminClient, settings: Settings) -> str:
    """A line that names what is missing, empty where nothing is. Raises `WrongTopics`, and aiokafka's errors."""
    names = [settings.topic(topic.name) for topic in topic_map(settings.tiers_ms)]
    counts = await private.partition_counts(admin, names)
    if missing := sorted(set(names) - set(counts)):
        return f"topics are missing (run `hookfold topics`): {', '.join(missing)}"
    # A topic that is just being made, or deleted, is told without partitions.
    if unmade := sorted(name for name, count in counts.items() if not count):
        return f"topics have no partitions yet: {', '.join(unmade)}"
    for name, count in counts.items():
        if count != settings.partitions:
            raise WrongTopics(f"{name} has {count} partitions, HOOKFOLD_PARTITIONS is {settings.partitions}")
    return ""


async def wait_for_topics(settings: Settings, stop: asyncio.Event) -> None:
    """Return when Kafka answers and has every topic, or `stop` is set. Raises `WrongTopics`."""
    said = ""
    while not stop.is_set():
        waiting = await _waiting(settings)
        if not waiting:
            return
        if waiting != said:
            said = waiting
            logger.warning("start.waiting reason=%s", waiting)
        await asyncio.sleep(WAIT_S)


async def _waiting(settings: Settings) -> str:
    """What keeps a process from starting, in a line; empty when nothing does."""
    admin = connections.admin(settings)
    try:
        await admin.start()
        return await missing_topics(admin, settings)
    except WrongTopics:
        raise
    except Exception as problem:
        return f"Kafka at {settings.kafka} does not answer: {problem}"
    finally:
        await admin.close()
