"""`hookfold erase`: data that is sealed in the log is made unreadable, by dropping what opens it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from compose.commands import EXIT_FAILED, Command, fail, load
from schemas.model import is_identifier
from schemas.settings import ReachSettings

if TYPE_CHECKING:
    from streams.erasure import erasing

_YES = click.option("--yes", is_flag=True, help="Do not ask first.")
_LIMITS = (
    "Not erased: what a producer wrote to `events` in the clear, until its time there is over (no deliveries of it are "
    "made while HOOKFOLD_SEAL_PAYLOADS is on); ids, event types and attributes; results; what receivers have got; "
    "earlier copies of the log, for who has HOOKFOLD_SEAL_KEYS. Kafka takes the old keys from its disks within about a "
    "minute. docs/erasure.md says more."
)


@click.group()
def erase() -> None:
    """Erase an event, or all data of a tenant, from what is sealed in the log."""


@erase.command("tenant", cls=Command, model=ReachSettings)
@_YES
@click.argument("tenant")
def erase_tenant(yes: bool, tenant: str) -> None:
    """Drop all keys of a tenant: none of its data that is sealed in the log can be opened any more.

    What waits to be delivered ends as skipped (erased). Its endpoints stay; new events are sealed with a new key.
    """
    from streams.erasure import erasing

    _check(tenant)
    _confirm(yes, f"All data of {tenant} in the log will be unreadable. This cannot be undone.")
    settings = load(ReachSettings)
    done = _run(settings, tenant, lambda log: erasing.erase_tenant(settings, log, tenant))
    click.echo(f"erased   all data of {tenant}: {_count(done.keys, 'key')} dropped")
    click.echo(_LIMITS, err=True)


@erase.command("event", cls=Command, model=ReachSettings)
@_YES
@click.option("--tenant", required=True, help="Whose they are.")
@click.argument("event_ids", nargs=-1, required=True)
def erase_event(yes: bool, tenant: str, event_ids: tuple[str, ...]) -> None:
    """Have a tenant's keys give up events: their data in the log cannot be opened any more, all other can.

    What waits of them ends as skipped (erased). Their ids are not used again.
    """
    from streams.core import event_fields
    from streams.erasure import erasing

    _check(tenant)
    for event_id in event_ids:
        if (problem := event_fields.refuse_text(event_id)) is not None:
            fail(f"the event's id {problem}")
    _confirm(
        yes, f"{_count(len(event_ids), 'event')} of {tenant} will be unreadable in the log. This cannot be undone."
    )
    settings = load(ReachSettings)
    if not settings.keys:
        fail("HOOKFOLD_SEAL_KEYS: not set; what is sealed was sealed with them")
    done = _run(settings, tenant, lambda log: erasing.erase_events(settings, log, tenant, event_ids))
    told = f"{_count(done.keys, 'key')} gave them up" if done.keys else "nothing to do: they had been erased before"
    click.echo(f"erased   {_count(len(event_ids), 'event')} of {tenant}: {told}")
    click.echo(_LIMITS, err=True)


def _run(settings: ReachSettings, tenant: str, work: Callable[..., Awaitable[erasing.Erased]]) -> erasing.Erased:
    from streams.erasure import erasing
    from streams.lane.log import Log, MissingTopics
    from streams.provisioning import WrongTopics

    async def run() -> erasing.Erased:
        log = Log(settings)
        try:
            await log.start()
            await log.check_topics()
            done = await work(log)
            await erasing.forget(settings, tenant)
            return done
        finally:
            await log.stop()

    try:
        return asyncio.run(run())
    except (MissingTopics, WrongTopics) as problem:
        fail(str(problem))
    except erasing.NotErased as problem:
        fail(str(problem), EXIT_FAILED if problem.passing else 1)
    except Exception as problem:
        fail(f"Kafka at {settings.kafka} does not answer: {type(problem).__name__}", EXIT_FAILED)


def _check(tenant: str) -> None:
    if not is_identifier(tenant):
        fail("the tenant: 1 to 128 of A-Z a-z 0-9 _ -")


def _confirm(yes: bool, what: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        fail("--yes: needed where nobody can be asked")
    if not click.confirm(f"{what} Go on?", err=True):
        fail("nothing was erased", 1)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
