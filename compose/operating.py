"""`hookfold endpoints …`, `sources …` and `deliveries …`: the HTTP API from a terminal."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click
import orjson

from compose.commands import EXIT_FAILED, Command, fail, load
from compose.secrets import kept_secret
from handlers.gateway import tokens
from schemas.settings import OperatorSettings
from schemas.sources import SCHEMES

TIMEOUT_S = 30.0
PAGE = 200

_TENANT = click.option("--tenant", required=True, help="Whose they are.")
_JSON = click.option("--json", "as_json", is_flag=True, help="The API's answer as it is, a line each.")


@click.group()
def endpoints() -> None:
    """See and change a tenant's endpoints, through the gateway."""


@click.group()
def sources() -> None:
    """See and change who may send events in for a tenant, through the gateway."""


@click.group()
def deliveries() -> None:
    """See what became of a tenant's deliveries, through the gateway."""


@endpoints.command("list", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
def list_endpoints(tenant: str, as_json: bool) -> None:
    """All endpoints with their states."""
    items = _pages(f"/v1/tenants/{tenant}/endpoints", {}, None)
    columns = ("endpoint_id", "state", "reason", "since", "url", "event types")
    _print(items, as_json, columns, _endpoint_row)


@endpoints.command("show", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.argument("endpoint_id")
def show_endpoint(tenant: str, endpoint_id: str, as_json: bool) -> None:
    """One endpoint with all its settings."""
    _print_one(_call("GET", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}"), as_json)


def _verb(name: str, words: str) -> None:
    @endpoints.command(name, cls=Command, model=OperatorSettings, help=words)
    @_TENANT
    @_JSON
    @click.argument("endpoint_id")
    def command(tenant: str, endpoint_id: str, as_json: bool) -> None:
        _print_one(_call("POST", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}/{name}"), as_json)


for _name, _words in (
    ("pause", "Deliver nothing to it until it is resumed."),
    ("disable", "Deliver nothing to it any more; a resume undoes it."),
    ("verify", "Ask its receiver again whether it wants what is sent to it."),
    ("test", "Deliver one hookfold.test event to it alone."),
    ("rotate-secret", "Give it a new secret, shown this once."),
):
    _verb(_name, _words)


@endpoints.command("resume", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.option("--since-ms", type=int, help="Deliver what was skipped since then, ms since 1970.")
@click.argument("endpoint_id")
def resume(tenant: str, endpoint_id: str, since_ms: int | None, as_json: bool) -> None:
    """Deliver to it again."""
    body = {"deliver_since_ms": since_ms} if since_ms is not None else {}
    _print_one(_call("POST", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}/resume", body=body), as_json)


@endpoints.command("replay", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.option("--since-ms", type=int, required=True, help="From when on, ms since 1970.")
@click.option("--until-ms", type=int, help="Until when; until now where it is not said.")
@click.option("--event-type", "event_types", multiple=True, help="A pattern; may be given repeatedly.")
@click.option("--verdict", "verdicts", multiple=True, type=click.Choice(["delivered", "dead", "skipped"]))
@click.option("--rate", "rate_per_s", type=float, help="Deliveries a second.")
@click.argument("endpoint_id")
def replay(tenant: str, endpoint_id: str, as_json: bool, **given: Any) -> None:
    """Deliver again what it got between two times."""
    body = {name: value for name, value in given.items() if value not in (None, ())}
    _print_one(_call("POST", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}/replay", body=body), as_json)


@endpoints.command("unregister", cls=Command, model=OperatorSettings)
@_TENANT
@click.argument("endpoint_id")
def unregister(tenant: str, endpoint_id: str) -> None:
    """End it: waiting retries are not sent any more."""
    _call("DELETE", f"/v1/tenants/{tenant}/endpoints/{endpoint_id}")
    click.echo(f"{endpoint_id} is unregistered")


@sources.command("list", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
def list_sources(tenant: str, as_json: bool) -> None:
    """All sources with their schemes."""
    columns = ("source_id", "scheme", "since", "path", "event type")
    _print(_pages(f"/v1/tenants/{tenant}/sources", {}, None), as_json, columns, _source_row)


@sources.command("show", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.argument("source_id")
def show_source(tenant: str, source_id: str, as_json: bool) -> None:
    """One source with all its settings."""
    _print_one(_call("GET", f"/v1/tenants/{tenant}/sources/{source_id}"), as_json)


@sources.command("register", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.option("--scheme", required=True, type=click.Choice(SCHEMES), help="How its requests are verified.")
@click.option("--event-type", help="A name, or a path into the body such as $.type.")
@click.option("--items", "items_path", help="A path to an array in the body: each item becomes an event.")
@click.option("--header", help="For hmac and api_key.")
@click.option("--encoding", type=click.Choice(["hex", "base64"]), help="For hmac.")
@click.argument("source_id")
def register_source(tenant: str, source_id: str, as_json: bool, items_path: str | None, **given: str | None) -> None:
    """Register it, or replace it whole. Its secrets are read from standard input, a line each.

    Where there is none, one is made and shown this once, if it is ours to make.
    """
    secrets = [] if sys.stdin.isatty() else sys.stdin.read().splitlines()
    body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if secrets:
        body["secrets"] = secrets
    if items_path is not None:
        body["items"] = {"path": items_path, "as": "each"}
    _print_one(_call("PUT", f"/v1/tenants/{tenant}/sources/{source_id}", body=body), as_json)


@sources.command("unregister", cls=Command, model=OperatorSettings)
@_TENANT
@click.argument("source_id")
def unregister_source(tenant: str, source_id: str) -> None:
    """End it: nothing comes in by it any more."""
    _call("DELETE", f"/v1/tenants/{tenant}/sources/{source_id}")
    click.echo(f"{source_id} is unregistered")


@deliveries.command("list", cls=Command, model=OperatorSettings)
@_TENANT
@click.option("--endpoint", "endpoint_id", help="Only to this endpoint.")
@click.option("--event", "event_id", help="Only of this event.")
@click.option("--verdict", type=click.Choice(["delivered", "retrying", "dead", "skipped"]))
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@_JSON
def list_deliveries(
    tenant: str, endpoint_id: str | None, event_id: str | None, verdict: str | None, limit: int, as_json: bool
) -> None:
    """The newest deliveries first."""
    asked = {"endpoint_id": endpoint_id, "event_id": event_id, "verdict": verdict}
    query = {name: value for name, value in asked.items() if value is not None}
    columns = ("event at", "delivery_id", "event_type", "event_id", "endpoint_id", "verdict", "attempt")
    _print(_pages(f"/v1/tenants/{tenant}/deliveries", query, limit), as_json, columns, _delivery_row)


@deliveries.command("show", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.argument("delivery_id")
def show_delivery(tenant: str, delivery_id: str, as_json: bool) -> None:
    """One delivery with all its attempts."""
    found = _call("GET", f"/v1/tenants/{tenant}/deliveries/{quote(delivery_id, safe='')}")
    if as_json:
        _print_one(found, as_json)
        return
    _print_one({name: value for name, value in found.items() if name != "attempts"}, as_json)
    columns = ("logged at", "attempt", "verdict", "status", "error", "latency ms", "next at")
    _print(found["attempts"], as_json, columns, _attempt_row)


@click.command("explain", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.argument("event_id")
def explain(tenant: str, event_id: str, as_json: bool) -> None:
    """Why an event did, or did not, arrive: for each endpoint, with the change that decided."""
    found = _call("GET", f"/v1/tenants/{tenant}/events/{quote(event_id, safe='')}/explain")
    if as_json:
        _print_one(found, as_json)
        return
    place = f"{found['partition']}/{found['offset']}"
    click.echo(f"{found['event_type']}  {found['event_id']}  {_time(found['event_time_ms'])}  events/{place}")
    columns = ("endpoint_id", "decision", "attempts", "reason", "by the change")
    _print(found["endpoints"], as_json, columns, _explained_row)


def _explained_row(item: dict[str, Any]) -> Sequence[str]:
    change = item["change"]
    made = sum(attempt["attempt"] > 0 for attempt in item["attempts"])
    place = f"subscriptions/{change['partition']}/{change['offset']}, {_time(change['at_ms'])}"
    return item["endpoint_id"], item["decision"], str(made), item["reason"], place


@deliveries.command("retry", cls=Command, model=OperatorSettings)
@_TENANT
@_JSON
@click.argument("delivery_id")
def retry(tenant: str, delivery_id: str, as_json: bool) -> None:
    """Deliver once more what has come to an end."""
    _print_one(_call("POST", f"/v1/tenants/{tenant}/deliveries/{quote(delivery_id, safe='')}/retry"), as_json)


def _endpoint_row(item: dict[str, Any]) -> Sequence[str]:
    patterns = sorted({pattern for one in item["subscriptions"] for pattern in one["event_types"]})
    return (
        item["endpoint_id"], item["state"], item.get("reason", ""), _time(item["since_ms"]), item["url"],
        " ".join(patterns),
    )  # fmt: skip


def _source_row(item: dict[str, Any]) -> Sequence[str]:
    since = _time(item["registered_at_ms"])
    return (item["source_id"], item["scheme"], since, item["path"], item.get("event_type", ""))


def _delivery_row(item: dict[str, Any]) -> Sequence[str]:
    return (
        _time(item["event_time_ms"]), item["delivery_id"], item["event_type"], item["event_id"], item["endpoint_id"],
        item["verdict"], str(item["attempt"]),
    )  # fmt: skip


def _attempt_row(item: dict[str, Any]) -> Sequence[str]:
    following = item.get("next_attempt_at_ms")
    return (
        _time(item["logged_at_ms"]), str(item["attempt"]), item["verdict"], str(item.get("status_code", "")),
        item.get("error", ""), str(item.get("latency_ms", "")), _time(following) if following else "",
    )  # fmt: skip


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print(items: list[dict[str, Any]], as_json: bool, columns: Sequence[str], row: Any) -> None:
    if as_json:
        for item in items:
            click.echo(orjson.dumps(item))
        return
    # Here and below: what every other command would load for nothing.
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for item in items:
        table.add_row(*row(item))
    # Whoever pipes us wants every column whole.
    Console(width=None if console.is_terminal else 400).print(table)


def _print_one(item: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(item))
        return
    width = max(map(len, item), default=0)
    for name, value in item.items():
        text = _time(value) if name.endswith("_ms") and isinstance(value, int) and value > 10**11 else value
        click.echo(f"{name:<{width}}  {text if isinstance(text, str) else orjson.dumps(text).decode()}")


def _pages(path: str, query: dict[str, str], limit: int | None) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while limit is None or len(items) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(items))
        page = _call("GET", path, query={**query, "limit": str(size)})
        items += page["items"]
        if page["next_cursor"] is None:
            break
        query = {**query, "cursor": page["next_cursor"]}
    return items


def _call(
    verb: str, path: str, *, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The API's answer; a problem ends the process with its line."""
    import aiohttp
    from yarl import URL

    settings = load(OperatorSettings)
    token = settings.token.get_secret_value()
    secrets = settings.api_secrets or kept_secret(settings.data_dir)
    if not token and secrets:
        token = tokens.make(secrets[0], None, ["admin"], now_s=int(time.time()), expires_s=300)
    if not token:
        fail("HOOKFOLD_TOKEN: not set, and neither is HOOKFOLD_API_SECRET to make one with")
    url = URL(settings.url.rstrip("/") + path, encoded=True).with_query(query or {})

    async def ask() -> tuple[int, Any]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        headers = {"authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.request(verb, url, json=body) as response,
        ):
            raw = await response.read()
            return response.status, orjson.loads(raw) if raw else {}

    try:
        status, answer = asyncio.run(ask())
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as problem:
        fail(f"{settings.url} does not answer: {problem!r}", EXIT_FAILED)
    if status >= 400:
        fail(f"{answer.get('title', status)}: {answer.get('detail', '')}", 1)
    return dict(answer)
