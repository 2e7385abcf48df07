"""What the commands share: their settings, their help, and how they end."""

from __future__ import annotations

import sys
from typing import Any, NoReturn, TypeVar

import click

from compose import logs
from schemas import settings as given
from schemas.settings import Settings, default_of

EXIT_WRONG = 2
EXIT_FAILED = 70

_Model = TypeVar("_Model", bound=Settings)


class Command(click.Command):
    """A command whose help lists the settings it reads."""

    def __init__(self, *words: Any, model: type[Settings] = Settings, **options: Any) -> None:
        super().__init__(*words, **options)
        self.model = model

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it; a bad option ends the process with one line and status 2."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as problem:
            fail(" ".join(problem.format_message().split()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The settings, from the model itself."""
        with formatter.section("Settings (environment variables, or a .env file)"):
            formatter.write_dl([(name, f"{words} [{default}]") for name, words, default in describe(self.model)])


def describe(model: type[Settings]) -> list[tuple[str, str, str]]:
    """Name, meaning and default of each setting of a process; a duration's unit is in its name."""
    return [
        (f"HOOKFOLD_{name.upper()}", field.description or "", default_of(field))
        for name, field in model.model_fields.items()
    ]


def load(model: type[_Model], **overrides: Any) -> _Model:
    """The settings; a bad one ends the process with one line and status 2."""
    loaded = given.load(model, **overrides)
    if isinstance(loaded, str):
        fail(loaded)
    logs.set_up(loaded.log_level, loaded.instance)
    return loaded


def fail(reason: str, status: int = EXIT_WRONG) -> NoReturn:
    """One clear line, and the end."""
    click.echo(f"hookfold: {reason}", err=True)
    sys.exit(status)
