"""What the demo shows: a live picture in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from compose.receiver import Arrival
from compose.tally import Tally

LINES = 10
PLAIN_INTERVAL_S = 2.0
COLOURS = {"delivered": "green", "retrying": "yellow", "dead": "red", "skipped": "dim"}


class DemoView:
    """Shows a tally. `endpoints`: `tenant/endpoint_id` with what it subscribes to, in words."""

    def __init__(self, tally: Tally, endpoints: Mapping[str, str], console: Console) -> None:
        self._tally = tally
        self._endpoints = endpoints
        self._console = console
        self._lines: deque[Text] = deque(maxlen=LINES)
        self._live: Live | None = None
        self._printed = 0.0

    def start(self) -> None:
        """Begin to show."""
        if self._console.is_terminal:
            self._live = Live(self._picture(), console=self._console, refresh_per_second=4)
            self._live.start()

    def stop(self) -> None:
        """The last picture stays."""
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()

    def note(self, result: Mapping[str, Any]) -> None:
        """A result has come."""
        verdict = result["verdict"]
        name = f"{result['tenant']}/{result['endpoint_id']}"
        line = Text(f"{name:<15} {result['event_type']:<15} ")
        line.append(f"attempt {result['attempt']} {verdict}", COLOURS[verdict])
        if result.get("status_code"):
            line.append(f" ({result['status_code']})")
        if result.get("next_attempt_at_ms"):
            line.append(f", next in {(result['next_attempt_at_ms'] - time.time() * 1000) / 1000:.1f} s")
        self._lines.append(line)

    def say(self, text: str) -> None:
        """Something else has happened."""
        self._lines.append(Text(text, "bold"))
        if self._live is None:
            self._console.print(text)

    def refresh(self) -> None:
        """Show how it is now."""
        if self._live is not None:
            self._live.update(self._picture())
        elif time.monotonic() - self._printed > PLAIN_INTERVAL_S:
            self._printed = time.monotonic()
            counts = self._tally.verdicts
            self._console.print(
                f"events {self._tally.events}, matched {self._tally.expected}, attempts {len(self._tally.results)}: "
                f"delivered {counts['delivered']}, retrying {counts['retrying']}, dead {counts['dead']}"
            )

    def summary(self, arrivals: Sequence[Arrival], restarts: int) -> None:
        """The counts at the end."""
        tally, counts = self._tally, self._tally.verdicts
        waits = tally.waits()
        late = [late_ms for _, late_ms, _ in waits]
        rows = {
            "events produced": f"{tally.events}",
            "deliveries owed": f"{tally.expected}",
            "attempts, each with one result": f"{len(tally.results)}",
            "POSTs that arrived, all signatures verified": f"{len(arrivals)}",
            "delivered": f"{counts['delivered']}",
            "dead, each with a dead letter": f"{counts['dead']}",
            "retries that waited and were then delivered": f"{sum(1 for *_, delivered in waits if delivered)}",
            "shortest wait asked for": f"{min((wait for wait, *_ in waits), default=0)} ms",
            "retries came late by": f"{min(late, default=0)} to {max(late, default=0)} ms",
            "processes started again": f"{restarts}",
        }
        table = Table(title="Summary", show_header=False)
        for name, value in rows.items():
            table.add_row(name, value)
        self._console.print(table)

    def _picture(self) -> Group:
        by_endpoint: dict[str, Counter[str]] = {name: Counter() for name in self._endpoints}
        for result in self._tally.results:
            by_endpoint[f"{result['tenant']}/{result['endpoint_id']}"][result["verdict"]] += 1
        table = Table(title=f"Hookfold: {self._tally.events} events, {self._tally.expected} deliveries owed")
        for column in ("endpoint", "subscribed to", "attempts", "delivered", "retrying", "dead"):
            table.add_column(column, justify="left" if column in ("endpoint", "subscribed to") else "right")
        for name, counts in by_endpoint.items():
            table.add_row(
                name,
                self._endpoints[name],
                str(sum(counts.values())),
                *(Text(str(counts[verdict]), COLOURS[verdict]) for verdict in ("delivered", "retrying", "dead")),
            )
        return Group(table, Panel(Group(*self._lines), title="last results", height=LINES + 2))
