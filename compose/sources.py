"""`hookfold sources …`: who may send events in, from a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from compose import terminal
from compose.commands import Command
from schemas.settings import OperatorSettings
from schemas.sources import SCHEMES


@click.group()
def sources() -> None:
    """See and change who may send events in for a tenant, through the gateway."""


@sources.command("list", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
def list_sources(tenant: str, as_json: bool) -> None:
    """All sources with their schemes."""
    columns = ("source_id", "scheme", "since", "path", "event type")
    terminal.print_rows(terminal.pages(f"/v1/tenants/{tenant}/sources", {}, None), as_json, columns, _source_row)


@sources.command("show", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
@click.argument("source_id")
def show_source(tenant: str, source_id: str, as_json: bool) -> None:
    """One source with all its settings."""
    terminal.print_one(terminal.call("GET", f"/v1/tenants/{tenant}/sources/{source_id}"), as_json)


@sources.command("register", cls=Command, model=OperatorSettings)
@terminal.TENANT
@terminal.JSON
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
    terminal.print_one(terminal.call("PUT", f"/v1/tenants/{tenant}/sources/{source_id}", body=body), as_json)


@sources.command("unregister", cls=Command, model=OperatorSettings)
@terminal.TENANT
@click.argument("source_id")
def unregister_source(tenant: str, source_id: str) -> None:
    """End it: nothing comes in by it any more."""
    terminal.call("DELETE", f"/v1/tenants/{tenant}/sources/{source_id}")
    click.echo(f"{source_id} is unregistered")


def _source_row(item: dict[str, Any]) -> Sequence[str]:
    since = terminal.time_of(item["registered_at_ms"])
    return (item["source_id"], item["scheme"], since, item["path"], item.get("event_type", ""))
