"""A real Apache Kafka of one node on this machine, kept under a data directory."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from compose import children, kafka_packages

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
LOG_TAIL = 12

SETTINGS = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={log}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
transaction.max.timeout.ms=60000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=12582912
replica.fetch.max.bytes=12582912
log.segment.bytes=134217728
"""


class KafkaFailed(Exception):
    """The broker cannot be started, for a reason in one line."""


class LocalKafka:
    """One broker. `data_dir` keeps its log over restarts; `port` is where clients reach it on 127.0.0.1.

    `more`: settings of Kafka's beside ours. `optimized`: with Java's optimizing compiler, for one that runs for long.
    """

    def __init__(
        self, data_dir: Path, port: int = 9092, more: Mapping[str, str] | None = None, *, optimized: bool = False
    ) -> None:
        self._folder = data_dir.absolute()
        self._port = port
        self._more = dict(more or {})
        self._optimized = optimized
        self._child: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers for clients."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        assert self._child is not None, "start first"
        return self._child.pid

    @property
    def running(self) -> bool:
        """True while the broker's process lives."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Return when it answers. Raises `KafkaFailed`, or `PackagesMissing` on a first use without registries."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._take_folder()
        try:
            if not _is_free(self._port):
                raise KafkaFailed(f"port {self._port} on 127.0.0.1 is in use")
            packages = kafka_packages.fetch()
            self._format(packages)
            self._run(packages)
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it cleanly and let the data directory go."""
        if self._child is not None:
            children.stop(self._child, STOP_TIMEOUT_S)
            self._child = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def wait(self) -> int:
        """Wait until the broker ends by itself; its exit status."""
        assert self._child is not None, "start first"
        return self._child.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_folder(self) -> None:
        self._lock = (self._folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise KafkaFailed(f"{self._folder} is in use by another Kafka") from None

    def _format(self, packages: kafka_packages.Packages) -> None:
        # The controller's place is part of the formatted log: it is chosen once for each data directory.
        chosen = self._folder / "controller.port"
        if not chosen.exists():
            chosen.write_text(str(_free_port()))
        settings = SETTINGS.format(port=self._port, controller=chosen.read_text().strip(), log=self._folder / "log")
        settings += "".join(f"{name}={value}\n" for name, value in self._more.items())
        (self._folder / "server.properties").write_text(settings)
        if (self._folder / "log" / "meta.properties").exists():
            return
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        formatted = subprocess.run(
            self._java(packages, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id, "-c"),
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode != 0:
            raise KafkaFailed(f"the data directory cannot be formatted: {formatted.stderr.strip()[-500:]}")

    def _java(self, packages: kafka_packages.Packages, main: str, *words: str) -> list[str]:
        return [
            str(packages.java),
            "-Xms128m",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            # In its first minutes the optimizing compiler would take more than the broker itself.
            f"-XX:TieredStopAtLevel={4 if self._optimized else 1}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            packages.class_path,
            main,
            *words,
            str(self._folder / "server.properties"),
        ]

    def _run(self, packages: kafka_packages.Packages) -> None:
        with (self._folder / "kafka.log").open("ab") as log:
            self._child = children.start(self._java(packages, "kafka.Kafka"), output=log)

    def _wait(self) -> None:
        assert self._child is not None
        until = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < until:
            if self._child.poll() is not None:
                raise KafkaFailed(f"Kafka ended with status {self._child.returncode}:\n{self._tail()}")
            if _answers(self._port):
                return
            time.sleep(0.1)
        raise KafkaFailed(f"Kafka did not answer within {READY_TIMEOUT_S:.0f} s:\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join((self._folder / "kafka.log").read_text(errors="replace").splitlines()[-LOG_TAIL:])


def _answers(port: int) -> bool:
    """True when a broker answers an ApiVersions request (key 18, version 0): it does so only when it is ready."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
        connection.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
        return len(connection.recv(8)) == 8  # size and correlation id
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
