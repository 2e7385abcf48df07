"""The command line: the one place where every part is wired together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from compose import logs
from schemas import settings as given
from schemas.settings import DelayerSettings, EgressSettings, RouterSettings, Settings
from schemas.version import VERSION

if TYPE_CHECKING:
    from handlers.pages import Pages
    from streams.process import Serve

EXIT_WRONG = 2
EXIT_DIFFERENT = 3
EXIT_FAILED = 70

_Model = TypeVar("_Model", bound=Settings)


class Command(click.Command):
    """A command whose help lists the settings it reads."""

    def __init__(self, *words: Any, model: type[Settings] = Settings, **options: Any) -> None:
        super().__init__(*words, **options)
        self.model = model

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The settings, from the model itself."""
        with formatter.section("Settings (environment variables, or a .env file)"):
            formatter.write_dl([(name, f"{words} [{default}]") for name, words, default in describe(self.model)])


def describe(model: type[Settings]) -> list[tuple[str, str, str]]:
    """Name, meaning and default of each setting of a process; a duration's unit is in its name."""
    return [
        (f"HOOKFOLD_{name.upper()}", field.description or "", "" if field.default is None else str(field.default))
        for name, field in model.model_fields.items()
    ]


def load(model: type[_Model], **overrides: Any) -> _Model:
    """The settings; a bad one ends the process with one line and status 2."""
    loaded = given.load(model, **overrides)
    if isinstance(loaded, str):
        fail(loaded)
    logs.set_up(loaded.log_level)
    return loaded


def fail(reason: str, status: int = EXIT_WRONG) -> NoReturn:
    """One clear line, and the end."""
    click.echo(f"hookfold: {reason}", err=True)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(VERSION, prog_name="hookfold")
def main() -> None:
    """Hookfold: webhooks out of Kafka, that never vanish."""


@main.command(cls=Command, model=Settings)
@click.option("--port", type=click.IntRange(1, 65535), help="Port on 127.0.0.1 (default: the one in HOOKFOLD_KAFKA).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where its log is kept.")
def kafka(port: int | None, data_dir: Path | None) -> None:
    """Run a local Apache Kafka, without Docker or Java, until SIGTERM or Ctrl-C."""
    from compose.kafka import KafkaFailed, LocalKafka
    from compose.kafka_packages import PackagesMissing

    settings = load(Settings)
    broker = LocalKafka(data_dir or settings.data_dir / "kafka", port or _port(settings.kafka))
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        broker.start()
        click.echo(f"kafka.ready bootstrap={broker.bootstrap}", err=True)
        status = broker.wait()
        fail(f"Kafka ended by itself with status {status}", EXIT_FAILED)
    except (KafkaFailed, PackagesMissing) as problem:
        fail(str(problem))
    finally:
        broker.stop()


@main.command(cls=Command, model=Settings)
def topics() -> None:
    """Create the topics that are missing, and say what differs in those that exist.

    Exits with 3 where a topic has another number of partitions: nothing can run on it.
    """
    from streams import provisioning

    settings = load(Settings)
    try:
        done = asyncio.run(provisioning.provision(settings))
    except Exception as problem:
        fail(f"topics cannot be created at {settings.kafka}: {problem}", EXIT_FAILED)
    for name in done.created:
        click.echo(f"created  {name}")
    for name in done.existing:
        click.echo(f"exists   {name}")
    for difference in done.differences:
        click.echo(f"differs  {difference}")
    if any(difference.setting == "partitions" for difference in done.differences):
        sys.exit(EXIT_DIFFERENT)


@main.command(cls=Command, model=RouterSettings)
def router() -> None:
    """Join events with subscriptions: events and changes in, deliveries out."""
    settings = load(RouterSettings)
    from handlers.pages import Pages
    from streams.router import service

    pages = Pages(settings.bind, settings.router_port)
    # Until Kafka answers there is no Faust app, and somebody has to say so on its port.
    _serve("router", settings, pages, lambda health, stop: service.serve(settings, health, stop, pages.stop))


@main.command(cls=Command, model=EgressSettings)
def egress() -> None:
    """Send deliveries: signed POSTs, results, retries and dead letters."""
    settings = load(EgressSettings)
    from handlers.egress import service
    from handlers.pages import Pages

    pages = Pages(settings.bind, settings.egress_port)
    _serve("egress", settings, pages, lambda health, stop: service.serve(settings, health, stop))


@main.command(cls=Command, model=DelayerSettings)
def delayer() -> None:
    """Wait: retries in, due deliveries out."""
    settings = load(DelayerSettings)
    from handlers.pages import Pages
    from streams.delayer import service

    pages = Pages(settings.bind, settings.delayer_port)
    _serve("delayer", settings, pages, lambda health, stop: service.serve(settings, health, stop))


@main.command(cls=Command, model=RouterSettings)
def up() -> None:
    """Run everything on this machine, and stay: Kafka (unless HOOKFOLD_KAFKA is set), router, egress, delayer."""
    from compose import up as everything

    _guarded(lambda: everything.run(load(RouterSettings), load(EgressSettings), load(DelayerSettings)))


@main.command(cls=Command, model=RouterSettings)
def demo() -> None:
    """Run everything for a short while, with a receiver, and show what is delivered.

    DEMO_SECONDS says for how long events are produced (20); 0 keeps it running until Ctrl-C. Exits with 0 when the
    counts add up.
    """
    from compose import demo as show

    seconds = os.environ.get("DEMO_SECONDS", "20")
    if not seconds.isdigit():
        fail("DEMO_SECONDS: not a number of seconds")
    _guarded(lambda: show.run(load(RouterSettings)))


def _serve(name: str, settings: Settings, pages: Pages, serve: Serve) -> NoReturn:
    from streams import process
    from streams.provisioning import WrongTopics

    sys.exit(process.run(process.main(name, serve, pages, WrongTopics, settings.drain_ms / 1000)))


def _guarded(run: Callable[[], int]) -> NoReturn:
    from compose.kafka import KafkaFailed
    from compose.kafka_packages import PackagesMissing

    try:
        sys.exit(run())
    except (KafkaFailed, PackagesMissing) as problem:
        fail(str(problem))


def _port(bootstrap: str) -> int:
    host, _, port = bootstrap.split(",")[0].strip().rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdigit():
        fail(f"HOOKFOLD_KAFKA is {bootstrap}: a local Kafka has an address such as 127.0.0.1:9092")
    return int(port)


if __name__ == "__main__":
    main()
