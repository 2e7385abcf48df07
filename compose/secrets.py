"""`hookfold seal` and `hookfold token`: what keeps secrets secret, and who may call the API."""

from __future__ import annotations

import base64
import os
import sys
import time
from pathlib import Path

import click

from compose.commands import Command, fail, load
from handlers.gateway import tokens
from schemas.model import is_identifier
from schemas.ring import KEY_BYTES
from schemas.settings import ReachSettings, TokenSettings, parse_duration_ms
from streams.core.sealing import Keyring, name_of_source

MAX_TOKEN_MS = 3_650 * 86_400_000
#: Where `hookfold up` keeps the secret that it makes.
SECRET_FILE = "api-secret"  # noqa: S105


@click.command(cls=Command, model=ReachSettings)
@click.argument("text", required=False)
@click.option("--tenant", help="Seal for this tenant's endpoint or source alone; needs --endpoint or --source.")
@click.option("--endpoint", "endpoint_id", help="The endpoint that it is for.")
@click.option("--source", "source_id", help="The source that it is for.")
@click.option("--new-key", metavar="ID", help="Make a key for HOOKFOLD_SEAL_KEYS instead, under this id.")
def seal(
    text: str | None, tenant: str | None, endpoint_id: str | None, source_id: str | None, new_key: str | None
) -> None:
    """Seal a secret with the first of HOOKFOLD_SEAL_KEYS, to be put into a subscription change.

    The secret is read from standard input where it is not given, so that it stands in no shell's history. Sealed for
    a tenant's endpoint or source it opens nowhere else.
    """
    if new_key is not None:
        click.echo(f"{new_key}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}")
        return
    ring = Keyring(load(ReachSettings).keys)
    if not ring:
        fail("HOOKFOLD_SEAL_KEYS: not set; `hookfold seal --new-key ID` makes a key")
    if endpoint_id is not None and source_id is not None:
        fail("--endpoint or --source, not both")
    bound_to = endpoint_id if source_id is None else name_of_source(source_id)
    if (tenant is None) != (bound_to is None):
        fail("--tenant and --endpoint go together, or --tenant and --source")
    given = text if text is not None else sys.stdin.read().rstrip("\r\n")
    if not given:
        fail("there is nothing to seal")
    if tenant is None or bound_to is None:
        click.echo(ring.seal_for_any(given))
    else:
        click.echo(ring.seal(given, tenant, bound_to))


@click.command(cls=Command, model=TokenSettings)
@click.option("--tenant", help="The one tenant that it reaches; --scope admin needs none.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(tokens.SCOPES), help="May be given repeatedly."
)
@click.option("--expires", default="30d", show_default=True, help="For how long it is valid, such as 12h or 30d.")
def token(tenant: str | None, scopes: tuple[str, ...], expires: str) -> None:
    """Make a token for the HTTP API."""
    settings = load(TokenSettings)
    secrets = settings.api_secrets or kept_secret(settings.data_dir)
    if not secrets:
        fail("HOOKFOLD_API_SECRET: not set; tokens are signed with it")
    if tenant is None and "admin" not in scopes:
        fail("--tenant: needed for any scope but admin")
    if tenant is not None and not is_identifier(tenant):
        fail("--tenant: 1 to 128 of A-Z a-z 0-9 _ -")
    try:
        expires_s = parse_duration_ms(expires, MAX_TOKEN_MS) // 1000
    except ValueError as problem:
        fail(f"--expires: {problem}")
    click.echo(tokens.make(secrets[0], tenant, scopes, now_s=int(time.time()), expires_s=expires_s))


def kept_secret(data_dir: Path) -> tuple[str, ...]:
    """The secret that `hookfold up` has made here; empty where it has not."""
    path = data_dir / SECRET_FILE
    return (path.read_text().strip(),) if path.exists() else ()


def make_secret(data_dir: Path) -> str:
    """The same, made and kept where there is none, readable by this user alone."""
    if kept := kept_secret(data_dir):
        return kept[0]
    data_dir.mkdir(parents=True, exist_ok=True)
    secret = base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()
    with os.fdopen(os.open(data_dir / SECRET_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
    return secret
