"""Makes docs/topics.md and docs/settings.md from `schemas`: `python -m compose.docs`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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

NOTE = "<!-- made by `python -m compose.docs`; do not edit -->\n\n"


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
    models: dict[str, type[Settings]] = {
        "Every process": Settings,
        "Router": RouterSettings,
        "Egress": EgressSettings,
        "Delayer": DelayerSettings,
        "Gateway": GatewaySettings,
        "Operators' commands": OperatorSettings,
    }
    for title, model in models.items():
        text += f"\n## {title}\n\n| variable | default | what it is |\n| --- | --- | --- |\n"
        for name, field in model.model_fields.items():
            if model is Settings or name not in common:
                default = f"`{default_of(field)}`" if default_of(field) else ""
                text += f"| `HOOKFOLD_{name.upper()}` | {default} | {field.description} |\n"
    return text


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "compacted"
    if topic.retention_ms < 0:
        return "for ever"
    days, hours = divmod(topic.retention_ms // HOUR_MS, DAY_MS // HOUR_MS)
    return f"{days} days" + (f" {hours} h" if hours else "")


GENERATED: dict[str, Callable[[], str]] = {"topics.md": topics_page, "settings.md": settings_page}


def main() -> None:
    """Write the pages."""
    folder = Path(__file__).parent.parent / "docs"
    for name, make in GENERATED.items():
        (folder / name).write_text(make())


if __name__ == "__main__":
    main()
