"""`python -m tests.bench.bare_loop KAFKA TOPIC`: read, POST, and that is all. Prints a line when it begins."""

import asyncio
import logging
import sys

import aiohttp
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord

IN_FLIGHT = 64


async def main(kafka: str, topic: str) -> None:
    free = asyncio.Semaphore(IN_FLIGHT)
    tasks: set[asyncio.Task[None]] = set()

    async def post(record: ConsumerRecord[bytes, bytes]) -> None:
        url = dict(record.headers)["url"].decode()
        try:
            async with session.post(url, data=record.value, headers={"content-type": "application/json"}) as answer:
                await answer.read()
        finally:
            free.release()

    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, group_id="bare", auto_offset_reset="earliest")
    async with consumer, aiohttp.ClientSession() as session:
        while not consumer.assignment():
            await asyncio.sleep(0.05)
        print("ready", flush=True)
        while True:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    await free.acquire()
                    task = asyncio.create_task(post(record))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    logging.disable(logging.ERROR)  # a topic and a group that are made only now
    uvloop.run(main(*sys.argv[1:]))
