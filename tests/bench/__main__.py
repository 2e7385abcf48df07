"""Saturated, one event to one endpoint: offer, measure CPU-seconds by process, then verify each id.

BENCH_EVENTS says how many events (20,000).
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from compose import children, up
from compose.kafka import LocalKafka
from compose.supervisor import Supervisor
from schemas.settings import Settings
from streams import provisioning

EVENTS = int(os.environ.get("BENCH_EVENTS", "20000"))
TENANTS = 200
BODY = "x" * 400
TIMEOUT_S = 300


def cpu_s(pids: dict[str, int]) -> dict[str, float]:
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}


async def produce(kafka: str, prefix: str, url: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=5)
    await producer.start()
    for tenant in range(TENANTS):
        change = {
            "type": "endpoint.registered", "endpoint_id": "e", "url": url, "verification": "none",
            "subscriptions": [{"event_types": ["*"]}], "secrets": ["whsec_" + "QUJD" * 11],
        }  # fmt: skip
        await producer.send(prefix + "subscriptions", json.dumps(change).encode(), key=f"t{tenant}".encode())
    await producer.flush()
    await asyncio.sleep(0.05)
    for number in range(EVENTS):
        event = {"type": "order.made", "id": f"e{number}", "data": {"number": number, "body": BODY}}
        await producer.send(prefix + "events", json.dumps(event).encode(), key=f"t{number % TENANTS}".encode())
    await producer.stop()


async def verify(kafka: str, prefix: str) -> tuple[Counter[str], float]:
    """Results by event id and the moment at which the last came."""
    consumer = AIOKafkaConsumer(
        prefix + "results", bootstrap_servers=kafka, isolation_level="read_committed",
        auto_offset_reset="earliest", group_id=None,
    )  # fmt: skip
    await consumer.start()
    seen: Counter[str] = Counter()
    until = time.monotonic() + TIMEOUT_S
    last = time.monotonic()
    while time.monotonic() < until and (len(seen) < EVENTS or time.monotonic() < last + 2):
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                result = json.loads(record.value)
                seen[result["event_id"] if result["verdict"] == "delivered" else "other"] += 1
                last = time.monotonic()
    await consumer.stop()
    return seen, last


async def main() -> int:
    with tempfile.TemporaryDirectory() as name, LocalKafka(Path(name) / "kafka", up.free_port()) as broker:
        settings = Settings(kafka=broker.bootstrap, prefix="bench.")
        await provisioning.provision(settings)
        sink = subprocess.Popen([sys.executable, "-m", "tests.bench.receiver"], stdout=subprocess.PIPE, text=True)
        assert sink.stdout is not None
        url = f"http://127.0.0.1:{sink.stdout.readline().strip()}/"
        ports = {name: up.free_port() for name in up.PIPELINE}
        env = up.stack_env(
            broker.bootstrap,
            {
                "HOOKFOLD_PREFIX": "bench.", "HOOKFOLD_ALLOW_HTTP": "1", "HOOKFOLD_ALLOW_NETWORKS": "127.0.0.0/8",
                "HOOKFOLD_DATA_DIR": name, **{f"HOOKFOLD_{n.upper()}_PORT": str(p) for n, p in ports.items()},
            },
        )  # fmt: skip
        supervisor = Supervisor(up.PIPELINE, env, up.say, log_dir=Path(name))
        supervisor.start()
        try:
            assert await up.wait_ready(ports, asyncio.Event())
            pids = {name: supervisor.pid(name) for name in up.PIPELINE} | {"broker": broker.pid}
            before, began = cpu_s(pids), time.monotonic()
            offering = asyncio.create_task(produce(broker.bootstrap, settings.prefix, url))
            seen, ended = await verify(broker.bootstrap, settings.prefix)
            await offering
            spent = {name: value - before[name] for name, value in cpu_s(pids).items()}
        finally:
            supervisor.stop()
            children.stop(sink, 5)  # type: ignore[arg-type]
    wrong = {event_id: count for event_id, count in seen.items() if count != 1 or event_id == "other"}
    whole = sum(spent.values()) / EVENTS * 1000
    print(f"saturated 1:1, {EVENTS} events of {len(BODY) + 80} bytes, {TENANTS} endpoints")
    print(f"  CPU-s per 1,000: {whole:.3f} = " + " + ".join(
        f"{name} {value / EVENTS * 1000:.3f}" for name, value in spent.items()))  # fmt: skip
    print(f"  wall time {ended - began:.1f} s, {EVENTS / (ended - began):.0f} deliveries/s")
    print(f"  verified: {len(seen)} of {EVENTS} ids have a result, {len(wrong)} of them not exactly one `delivered`")
    return 0 if len(seen) == EVENTS and not wrong else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
