"""`hookfold endpoints …`, `hookfold deliveries …` and `hookfold explain`: the HTTP API from a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import click

from compose import terminal
from compose.commands import Command
from schemas.settings import OperatorSettings


@click.group()
def endpoints() -> None:
    """See and change a tenant's endpoints, through the gateway."""


@click.group()
def deliveries() -> None:
    """See what became of a tenant's deliveries, through the gateway."""


@endpoints.command("list", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
def list_endpoints(tenant: str, as_json: bool) -> None:
    """All endpoints with their states."""
    items = terminal.pages(f"/v1/tenants/{tenant}/endpoints", {}, None)
    columns = ("endpoint_id", "state", "reason", "since", "url", "event types")
    terminal.print_rows(items, as_json, columns, _endpoint_row)


@endpoints.command("show", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
@click.argument("endpoint_id")
def show_endpoint(tenant: str, endpoint_id: str, as_json: bool) -> None:
    """One endpoint with all its settings."""
    terminal.print_one(terminal.call("GET", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}"), as_json)


def _verb(name: str, words: str) -> None:
    @endpoints.command(name, cls=Command, model=OperatorSettings, help=words)
    @terminal.TENANT
    @terminal.JSON
    @click.argument("endpoint_id")
    def command(tenant: str, endpoint_id: str, as_json: bool) -> None:
        terminal.print_one(terminal.call("POST", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}/{name}"), as_json)


for _name, _words in (
    ("pause", "Deliver nothing to it until it is resumed."),
    ("disable", "Deliver nothing to it any more; a resume undoes it."),
    ("verify", "Ask its receiver again whether it wants what is sent to it."),
    ("test", "Deliver one hookfold.test event to it alone."),
    ("rotate-secret", "Give it a new secret, shown this once."),
):
    _verb(_name, _words)


@endpoints.command("resume", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
@click.option("--since-ms", type=int, help="Deliver what was skipped since then, ms since 1970.")
@click.argument("endpoint_id")
def resume(tenant: str, endpoint_id: str, since_ms: int | None, as_json: bool) -> None:
    """Deliver to it again."""
    body = {"deliver_since_ms": since_ms} if since_ms is not None else {}
    terminal.print_one(
        terminal.call("POST", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}/resume", body=body), as_json
    )


@endpoints.command("replay", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
@click.option("--since-ms", type=int, required=True, help="From when on, ms since 1970.")
@click.option("--until-ms", type=int, help="Until when; until now where it is not said.")
@click.option("--event-type", "event_types", multiple=True, help="A pattern; may be given repeatedly.")
@click.option("--verdict", "verdicts", multiple=True, type=click.Choice(["delivered", "dead", "skipped"]))
@click.option("--rate", "rate_per_s", type=float, help="Deliveries a second.")
@click.argument("endpoint_id")
def replay(tenant: str, endpoint_id: str, as_json: bool, **given: Any) -> None:
    """Deliver again what it got between two times."""
    body = {name: value for name, value in given.items() if value not in (None, ())}
    terminal.print_one(
        terminal.call("POST", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}/replay", body=body), as_json
    )


@endpoints.command("unregister", cls=Command, model=OperatorSettings)
@terminal.TENANT
@click.argument("endpoint_id")
def unregister(tenant: str, endpoint_id: str) -> None:
    """End it: waiting retries are not sent any more."""
    terminal.call("DELETE", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}")
    click.echo(f"{endpoint_id} is unregistered")


@deliveries.command("list", cls=Command, model=OperatorSettings)
@terminal.TENANT
@click.option("--endpoint", "endpoint_id", help="Only to this endpoint.")
@click.option("--event", "event_id", help="Only of this event.")
@click.option("--verdict", type=click.Choice(["delivered", "retrying", "dead", "skipped"]))
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@terminal.JSON
def list_deliveries(
    tenant: str, endpoint_id: str | None, event_id: str | None, verdict: str | None, limit: int, as_json: bool
) -> None:
    """The newest deliveries first."""
    asked = {"endpoint_id": endpoint_id, "event_id": event_id, "verdict": verdict}
    query = {name: value for name, value in asked.items() if value is not None}
    columns = ("event at", "delivery_id", "event_type", "event_id", "endpoint_id", "verdict", "attempt")
    terminal.print_rows(
        terminal.pages(f"/v1/tenants/{tenant}/deliveries", query, limit), as_json, columns, _delivery_row
    )


@deliveries.command("show", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
@click.argument("delivery_id")
def show_delivery(tenant: str, delivery_id: str, as_json: bool) -> None:
    """One delivery with all its attempts."""
    found = terminal.call("GET", f"/v1/tenants/{tenant}/deliveries/{quote(delivery_id, safe='')}")
    if as_json:
        terminal.print_one(found, as_json)
        return
    terminal.print_one({name: value for name, value in found.items() if name != "attempts"}, as_json)
    columns = ("logged at", "attempt", "verdict", "status", "error", "latency ms", "next at")
    terminal.print_rows(found["attempts"], as_json, columns, _attempt_row)


@click.command("explain", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
@click.argument("event_id")
def explain(tenant: str, event_id: str, as_json: bool) -> None:
    """Why an event did, or did not, arrive: for each endpoint, with the change that decided."""
    found = terminal.call("GET", f"/v1/tenants/{tenant}/events/{quote(event_id, safe='')}/explain")
    if as_json:
        terminal.print_one(found, as_json)
        return
    place = f"{found['partition']}/{found['offset']}"
    click.echo(
        f"{found['event_type']}  {found['event_id']}  {terminal.time_of(found['event_time_ms'])}  events/{place}"
    )
    if found.get("erased"):
        click.echo("its data was erased: filters that ask for it cannot be explained")
    columns = ("endpoint_id", "decision", "attempts", "reason", "by the change")
    terminal.print_rows(found["endpoints"], as_json, columns, _explained_row)


def _explained_row(item: dict[str, Any]) -> Sequence[str]:
    change = item["change"]
    made = sum(attempt["attempt"] > 0 for attempt in item["attempts"])
    place = f"subscriptions/{change['partition']}/{change['offset']}, {terminal.time_of(change['at_ms'])}"
    return item["endpoint_id"], item["decision"], str(made), item["reason"], place


@deliveries.command("retry", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
@click.argument("delivery_id")
def retry(tenant: str, delivery_id: str, as_json: bool) -> None:
    """Deliver once more what has come to an end."""
    terminal.print_one(
        terminal.call("POST", f"/v1/tenants/{tenant}/deliveries/{quote(delivery_id, safe='')}/retry"), as_json
    )


def _endpoint_row(item: dict[str, Any]) -> Sequence[str]:
    patterns = sorted({pattern for one in item["subscriptions"] for pattern in one["event_types"]})
    return (
        item["endpoint_id"], item["state"], item.get("reason", ""), terminal.time_of(item["since_ms"]), item["url"],
        " ".join(patterns),
    )  # fmt: skip


def _delivery_row(item: dict[str, Any]) -> Sequence[str]:
    return (
        terminal.time_of(item["event_time_ms"]), item["delivery_id"], item["event_type"], item["event_id"],
        item["endpoint_id"], item["verdict"], str(item["attempt"]),
    )  # fmt: skip


def _attempt_row(item: dict[str, Any]) -> Sequence[str]:
    following = item.get("next_attempt_at_ms")
    return (
        terminal.time_of(item["logged_at_ms"]), str(item["attempt"]), item["verdict"], str(item.get("status_code", "")),
        item.get("error", ""), str(item.get("latency_ms", "")), terminal.time_of(following) if following else "",
    )  # fmt: skip
