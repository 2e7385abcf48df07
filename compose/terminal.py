"""What the commands about the HTTP API share: a call with a token, pages of a list, and how they are shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
import orjson

from compose.commands import EXIT_FAILED, fail, load
from compose.secrets import kept_secret
from handlers.gateway import tokens
from schemas.settings import OperatorSettings

TIMEOUT_S = 30.0
PAGE = 200

TENANT = click.option("--tenant", required=True, help="Whose they are.")
JSON = click.option("--json", "as_json", is_flag=True, help="The API's answer as it is, a line each.")


def time_of(time_ms: int) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def print_rows(items: list[dict[str, Any]], as_json: bool, columns: Sequence[str], row: Any) -> None:
    """A table, `row` making the cells of an item; as JSON a line each."""
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


def print_one(item: dict[str, Any], as_json: bool) -> None:
    """One field a line; as JSON one line."""
    if as_json:
        click.echo(orjson.dumps(item))
        return
    width = max(map(len, item), default=0)
    for name, value in item.items():
        text = time_of(value) if name.endswith("_ms") and isinstance(value, int) and value > 10**11 else value
        click.echo(f"{name:<{width}}  {text if isinstance(text, str) else orjson.dumps(text).decode()}")


def pages(path: str, query: dict[str, str], limit: int | None) -> list[dict[str, Any]]:
    """A list's items from its beginning: `limit`, or all."""
    items: list[dict[str, Any]] = []
    while limit is None or len(items) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(items))
        page = call("GET", path, query={**query, "limit": str(size)})
        items += page["items"]
        if page["next_cursor"] is None:
            break
        query = {**query, "cursor": page["next_cursor"]}
    return items


def call(
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
