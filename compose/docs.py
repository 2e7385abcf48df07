"""Makes docs/topics.md, settings.md and transitions.md from the code that they are about: `python -m compose.docs`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from schemas.endpoints import State
from schemas.settings import (
    DelayerSettings,
    EgressSettings,
    GatewaySettings,
    OperatorSettings,
    RouterSettings,
    Settings,
    default_of,
)
from schemas.topics import DAY_MS, HOUR_MS, Topic, topic_map
from streams.core.transitions import SAME, TRANSITIONS, VERIFIED_OR_PENDING

NOTE = "<!-- made by `python -m compose.docs`; do not edit -->\n\n"


#: The settings of each process, and of the commands.
MODELS: dict[str, type[Settings]] = {
    "Every process": Settings,
    "Router": RouterSettings,
    "Egress": EgressSettings,
    "Delayer": DelayerSettings,
    "Gateway": GatewaySettings,
    "Operators' commands": OperatorSettings,
}


def topics_page() -> str:
    """The map of topics as a page."""
    rows = [
        "| topic | key | value | written by | read by | kept | largest record |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| `{topic.name}` | {topic.key} | {topic.value} | {', '.join(topic.writers)} | {', '.join(topic.readers)} "
        f"| {_kept(topic)} | {topic.max_record_bytes // 1024} KiB |"
        for topic in topic_map(Settings.model_construct().tiers_ms)
    ]
    return (
        f"# Topics\n\n{NOTE}Names are without the prefix (`HOOKFOLD_PREFIX`). All topics have the same number of\n"
        "partitions, and every time in them is the broker's (`LogAppendTime`).\n\n" + "\n".join(rows) + "\n"
    )


def settings_page() -> str:
    """The settings of each process as a page."""
    text = f"# Settings\n\n{NOTE}Environment variables, or a `.env` file in the working directory.\n"
    common = set(Settings.model_fields)
    for title, model in MODELS.items():
        text += f"\n## {title}\n\n| variable | default | what it is |\n| --- | --- | --- |\n"
        for name, field in model.model_fields.items():
            if model is Settings or name not in common:
                default = f"`{default_of(field)}`" if default_of(field) else ""
                text += f"| `HOOKFOLD_{name.upper()}` | {default} | {field.description} |\n"
    return text


def transitions_page() -> str:
    """The table of transitions as a page, with what each change means."""
    states: tuple[State | None, ...] = (None, State.PENDING, State.ACTIVE, State.PAUSED, State.DISABLED)
    heads = ["none, or gone", *(state.value for state in states if state is not None)]
    rows = [f"| change | {' | '.join(heads)} |", "| --- |" + " --- |" * len(states)]
    for kind in MEANINGS:
        cells = (_transition(TRANSITIONS.get((state, kind))) for state in states)
        rows.append(f"| `{kind}` | {' | '.join(cells)} |")
    rows += ["", "| change | waiting deliveries | the handshake under way |", "| --- | --- | --- |"]
    rows += [f"| `{kind}` | {deliveries} | {handshake} |" for kind, (deliveries, handshake) in MEANINGS.items()]
    return (
        f"# Transitions\n\n{NOTE}The state after a change, by the state before it (`·`: the same). "
        '"Active or pending" is active where the\nURL has been verified, or the verification is `none`. '
        "More in [lifecycle.md](lifecycle.md).\n\n" + "\n".join(rows) + "\n"
    )


def _transition(target: State | str | None) -> str:
    if target is None:
        return "rejected"
    if target == SAME:
        return "·"
    return "active or pending" if target == VERIFIED_OR_PENDING else str(target)


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "compacted"
    if topic.retention_ms < 0:
        return "for ever"
    days, hours = divmod(topic.retention_ms // HOUR_MS, DAY_MS // HOUR_MS)
    return f"{days} days" + (f" {hours} h" if hours else "")


#: Of each change: what becomes of deliveries that wait in retries, and of a handshake under way.
MEANINGS = {
    "endpoint.registered": (
        "go to the new URL; until it is verified they are `skipped` (`pending`)",
        "ends; another begins unless it is `none`",
    ),
    "endpoint.changed": ("go to the new URL; until it is verified they wait", "a new URL or kind begins another"),
    "endpoint.verification_requested": ("go on; of a disabled endpoint they are `skipped`", "ends; another begins"),
    "endpoint.verified": ("go on", "ends; with a `version` only the one that it names"),
    "endpoint.paused": ("are `skipped` (`paused`) when they come due", "goes on"),
    "endpoint.resumed": ("go on", "goes on; begins where there is none and the URL is not verified"),
    "endpoint.disabled": ("are `skipped` (`disabled`) when they come due", "ends; with a `version` only that one"),
    "endpoint.failing": ("go on", "goes on"),
    "endpoint.recovered": ("go on", "goes on"),
    "endpoint.replay_requested": ("go on; only of an active endpoint", "goes on"),
    "endpoint.replay_cancelled": ("go on; what the replay has delivered already, too", "goes on"),
    "subscription.added": ("go on", "goes on"),
    "subscription.removed": ("go on: who gets an event was decided when it came", "goes on"),
    "secret.rotated": ("are signed with the secrets of the attempt's time", "goes on"),
    "endpoint.unregistered": ("are `skipped` (`gone`) when they come due", "ends"),
}
GENERATED: dict[str, Callable[[], str]] = {
    "topics.md": topics_page,
    "settings.md": settings_page,
    "transitions.md": transitions_page,
}


def main() -> None:
    """Write the pages."""
    folder = Path(__file__).parent.parent / "docs"
    for name, make in GENERATED.items():
        (folder / name).write_text(make())


if __name__ == "__main__":
    main()
