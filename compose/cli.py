"""The command line: the one place where every part is wired together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from compose import erase, operating, secrets, sources, tail, trial, what_if
from compose.commands import EXIT_FAILED, Command, fail, load
from schemas.settings import DelayerSettings, EgressSettings, GatewaySettings, RouterSettings, Settings
from schemas.version import VERSION

if TYPE_CHECKING:
    from streams.process import Pages, Serve

EXIT_DIFFERENT = 3


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


@main.command(cls=Command, model=Settings)
def asyncapi() -> None:
    """Print the AsyncAPI 3.0 document of every topic; the gateway has it at /asyncapi.json."""
    from handlers.gateway import asyncapi as described

    click.echo(described.document(load(Settings)))


_several = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="How many processes of it: members of one group, behind one port, started again when they die.",
)


@main.command(cls=Command, model=RouterSettings)
@_several
def router(workers: int) -> None:
    """Join events with subscriptions: events and changes in, deliveries out."""
    settings = load(RouterSettings)
    if workers > 1:
        _serve_all("router", workers, settings, settings.router_port)
    from handlers.pages import Pages
    from streams.router import service

    pages = Pages(settings.bind, settings.router_port)
    # Until Kafka answers there is no Faust app, and somebody has to say so on its port.
    _serve("router", settings, pages, lambda health, stop: service.serve(settings, health, stop, pages.stop))


@main.command(cls=Command, model=EgressSettings)
@_several
def egress(workers: int) -> None:
    """Send deliveries: signed POSTs, results, retries and dead letters."""
    settings = load(EgressSettings)
    if workers > 1:
        _serve_all("egress", workers, settings, settings.egress_port)
    from handlers.egress import service
    from handlers.pages import Pages

    pages = Pages(settings.bind, settings.egress_port)
    _serve("egress", settings, pages, lambda health, stop: service.serve(settings, health, stop))


@main.command(cls=Command, model=DelayerSettings)
@_several
def delayer(workers: int) -> None:
    """Wait: retries in, due deliveries out."""
    settings = load(DelayerSettings)
    if workers > 1:
        _serve_all("delayer", workers, settings, settings.delayer_port)
    from handlers.pages import Pages
    from streams.delayer import service

    pages = Pages(settings.bind, settings.delayer_port)
    _serve("delayer", settings, pages, lambda health, stop: service.serve(settings, health, stop))


@main.command(cls=Command, model=GatewaySettings)
def gateway() -> None:
    """Serve the HTTP API: register endpoints, publish events, and see what became of deliveries."""
    settings = load(GatewaySettings)
    if not settings.api_secrets:
        fail("HOOKFOLD_API_SECRET: not set; tokens are signed with it")
    from handlers.gateway.service import Gateway

    served = Gateway(settings)
    _serve("gateway", settings, served, served.serve)


@main.command(cls=Command, model=RouterSettings)
def up() -> None:
    """Run everything on this machine, and stay: Kafka (unless HOOKFOLD_KAFKA is set), and every service.

    Without HOOKFOLD_API_SECRET the gateway gets one of its own, kept in the data directory.
    """
    from compose import up as everything

    settings = load(RouterSettings), load(EgressSettings), load(DelayerSettings), load(GatewaySettings)
    _guarded(lambda: everything.run(*settings))


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


def _serve_all(name: str, count: int, settings: Settings, port: int) -> NoReturn:
    from compose.supervisor import GivenUp
    from compose.workers import Workers
    from streams import process
    from streams.provisioning import WrongTopics

    if count > settings.partitions:
        fail(f"--workers {count}: with {settings.partitions} partitions no more than that have work")
    workers = Workers(name, count, settings, port)
    main = process.main(f"{name}.workers", workers.serve, workers.pages, (WrongTopics, GivenUp), workers.stop_s)
    sys.exit(process.run(main))


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


main.add_command(trial.receiver)
main.add_command(secrets.seal)
main.add_command(secrets.token)
main.add_command(operating.endpoints)
main.add_command(sources.sources)
main.add_command(operating.deliveries)
main.add_command(operating.explain)
main.add_command(what_if.command)
main.add_command(tail.tail)
main.add_command(erase.erase)

if __name__ == "__main__":
    main()
