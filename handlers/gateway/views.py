"""What the gateway knows, in a SQLite file that may be deleted: it is made again from the log.

Positions are kept in the transaction of what they stand for, so that a record is folded once however often we start.
One thread writes; readers have connections of their own and see what is committed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from handlers.gateway.folding import Fold, SourceRow

VERSION = 2
#: Of an `EndpointRow`; what follows is for those who wait.
ENDPOINT_COLUMNS = 5
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS endpoints (
    tenant TEXT NOT NULL, endpoint_id TEXT NOT NULL, gone INTEGER NOT NULL, record BLOB NOT NULL,
    partition INTEGER NOT NULL, PRIMARY KEY (tenant, endpoint_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    tenant TEXT NOT NULL, source_id TEXT NOT NULL, record BLOB NOT NULL, at_ms INTEGER NOT NULL,
    partition INTEGER NOT NULL, PRIMARY KEY (tenant, source_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
    tenant TEXT NOT NULL, delivery_id TEXT NOT NULL, endpoint_id TEXT NOT NULL, event_id TEXT NOT NULL,
    event_type TEXT NOT NULL, event_time_ms INTEGER NOT NULL, verdict TEXT NOT NULL, attempt INTEGER NOT NULL,
    last_result_at_ms INTEGER NOT NULL, PRIMARY KEY (tenant, delivery_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_by_time ON deliveries (tenant, event_time_ms, delivery_id);
CREATE INDEX IF NOT EXISTS deliveries_by_endpoint ON deliveries (tenant, endpoint_id, event_time_ms, delivery_id);
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (tenant, event_id);
CREATE INDEX IF NOT EXISTS deliveries_by_age ON deliveries (last_result_at_ms);
CREATE TABLE IF NOT EXISTS results (
    tenant TEXT NOT NULL, delivery_id TEXT NOT NULL, partition INTEGER NOT NULL, place INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, result BLOB NOT NULL, PRIMARY KEY (tenant, delivery_id, partition, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS results_by_age ON results (at_ms);
"""
#: What is known of a partition of a topic, where it may be made anew.
_TABLES = {"endpoints": "endpoints", "subscriptions": "sources"}
_PUT_DELIVERY = """
INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, delivery_id) DO UPDATE SET
    event_time_ms = min(event_time_ms, excluded.event_time_ms), verdict = excluded.verdict,
    attempt = max(attempt, excluded.attempt), last_result_at_ms = excluded.last_result_at_ms
"""


class Views:
    """The file. Every method blocks; `fold` and `forget_*` belong to one thread at a time."""

    def __init__(self, path: Path, prefix: str) -> None:
        """`prefix`: of the topics that it is of; a file of others, or of another version, is begun anew."""
        self._path = path
        self._readers = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = self._open()
        known = dict(self._writer.execute("SELECT name, value FROM meta")) if self._has_meta() else {}
        if known and (known.get("version"), known.get("prefix")) != (str(VERSION), prefix):
            self._writer.close()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._writer = self._open()
        self._writer.executescript(_SCHEMA)
        told = [("version", str(VERSION)), ("prefix", prefix)]
        self._writer.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", told)
        self._writer.commit()

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()

    def belong_to(self, cluster: str) -> None:
        """What is known of another Kafka cluster is forgotten."""
        with self._writer as connection:
            known = connection.execute("SELECT value FROM meta WHERE name = 'cluster'").fetchone()
            if known is not None and known[0] != cluster:
                for table in ("endpoints", "sources", "deliveries", "results", "positions"):
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608
                connection.execute("DELETE FROM meta WHERE name = 'whole'")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('cluster', ?)", (cluster,))

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset of each partition, by topic without prefix."""
        rows = self._writer.execute("SELECT topic, partition, next FROM positions")
        return {(topic, partition): following for topic, partition, following in rows}

    def is_whole(self) -> bool:
        """True once everything that there was has been folded."""
        return self._reader().execute("SELECT 1 FROM meta WHERE name = 'whole'").fetchone() is not None

    def set_whole(self) -> None:
        """Everything that there was has been folded."""
        with self._writer:
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES ('whole', '1')")

    def fold(self, fold: Fold) -> None:
        """Lay records over what is known, and keep how far they reach, in one transaction."""
        with self._writer as connection:
            rows = [row[:ENDPOINT_COLUMNS] for row in fold.endpoints.values() if row is not None]
            gone = [key for key, row in fold.endpoints.items() if row is None]
            connection.executemany("INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?, ?, ?)", rows)
            connection.executemany("DELETE FROM endpoints WHERE tenant = ? AND endpoint_id = ?", gone)
            sources = [row for row in fold.sources.values() if row is not None]
            ended = [key for key, row in fold.sources.items() if row is None]
            connection.executemany("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)", sources)
            connection.executemany("DELETE FROM sources WHERE tenant = ? AND source_id = ?", ended)
            connection.executemany(_PUT_DELIVERY, fold.deliveries)
            connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)", fold.places)
            connection.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)",
                [(topic, partition, following) for (topic, partition), following in fold.positions.items()],
            )

    def forget(self, topic: str, partition: int) -> None:
        """Nothing is known of this partition: it was made anew."""
        with self._writer as connection:
            if (table := _TABLES.get(topic)) is not None:
                connection.execute(f"DELETE FROM {table} WHERE partition = ?", (partition,))  # noqa: S608
            connection.execute("DELETE FROM positions WHERE topic = ? AND partition = ?", (topic, partition))

    def forget_before(self, time_ms: int, at_most: int = 10_000) -> int:
        """Drop results as old as Kafka would; how many."""
        with self._writer as connection:
            old = "SELECT tenant, delivery_id, partition, place FROM results WHERE at_ms < ? LIMIT ?"
            gone = connection.execute(
                f"DELETE FROM results WHERE (tenant, delivery_id, partition, place) IN ({old})",  # noqa: S608
                (time_ms, at_most),
            ).rowcount
            connection.execute("DELETE FROM deliveries WHERE last_result_at_ms < ?", (time_ms,))
            return gone

    def endpoint(self, tenant: str, endpoint_id: str) -> bytes | None:
        """The record as it is in `endpoints`, also of one that is gone; None where there never was one."""
        query = "SELECT record FROM endpoints WHERE tenant = ? AND endpoint_id = ?"
        found = self._reader().execute(query, (tenant, endpoint_id)).fetchone()
        return found[0] if found else None

    def endpoints(self, tenant: str, after: str, limit: int) -> list[bytes]:
        """The records of a tenant's endpoints with ids above `after`, by id, without those that are gone."""
        query = """
            SELECT record FROM endpoints WHERE tenant = ? AND endpoint_id > ? AND NOT gone ORDER BY endpoint_id LIMIT ?
        """
        return [record for (record,) in self._reader().execute(query, (tenant, after, limit))]

    def all_endpoints(self, tenant: str) -> list[bytes]:
        """The records of all endpoints of a tenant, by id, also of those that are gone."""
        query = "SELECT record FROM endpoints WHERE tenant = ? ORDER BY endpoint_id"
        return [record for (record,) in self._reader().execute(query, (tenant,))]

    def results_of_event(self, tenant: str, event_id: str) -> list[tuple[int, bytes]]:
        """The results of all deliveries of an event, with their times; a delivery's oldest first."""
        query = """
            SELECT at_ms, result FROM deliveries JOIN results USING (tenant, delivery_id)
            WHERE tenant = ? AND event_id = ? ORDER BY delivery_id, partition, place
        """
        return [(at_ms, result) for at_ms, result in self._reader().execute(query, (tenant, event_id))]

    def source(self, tenant: str, source_id: str) -> SourceRow | None:
        """The source; None where there is none, or none any more."""
        query = "SELECT * FROM sources WHERE tenant = ? AND source_id = ?"
        found = self._reader().execute(query, (tenant, source_id)).fetchone()
        return SourceRow(*found) if found else None

    def sources(self, tenant: str, after: str, limit: int) -> list[SourceRow]:
        """A tenant's sources with ids above `after`, by id."""
        query = "SELECT * FROM sources WHERE tenant = ? AND source_id > ? ORDER BY source_id LIMIT ?"
        return [SourceRow(*row) for row in self._reader().execute(query, (tenant, after, limit))]

    def deliveries(
        self, tenant: str, where: dict[str, Any], before: tuple[int, str] | None, limit: int
    ) -> list[dict[str, Any]]:
        """Deliveries, newest first. `where`: columns and their values, `since_ms`, `until_ms`; `before`: a cursor."""
        columns = {"endpoint_id = ?": "endpoint_id", "event_id = ?": "event_id", "verdict = ?": "verdict"}
        bounds = {"event_time_ms >= ?": "since_ms", "event_time_ms < ?": "until_ms"}
        asked = [(text, where[name]) for text, name in {**columns, **bounds}.items() if where.get(name) is not None]
        conditions = ["tenant = ?", *(text for text, _ in asked)]
        values: list[Any] = [tenant, *(value for _, value in asked)]
        if before is not None:
            conditions.append("(event_time_ms, delivery_id) < (?, ?)")
            values += before
        query = (
            f"SELECT * FROM deliveries WHERE {' AND '.join(conditions)} "  # noqa: S608
            "ORDER BY event_time_ms DESC, delivery_id DESC LIMIT ?"
        )
        return [dict(row) for row in self._reader().execute(query, (*values, limit))]

    def delivery(self, tenant: str, delivery_id: str) -> tuple[dict[str, Any], list[tuple[int, bytes]]] | None:
        """A delivery, and its results with their times, oldest first."""
        reader = self._reader()
        query = "SELECT * FROM deliveries WHERE tenant = ? AND delivery_id = ?"
        found = reader.execute(query, (tenant, delivery_id)).fetchone()
        if found is None:
            return None
        query = "SELECT at_ms, result FROM results WHERE tenant = ? AND delivery_id = ? ORDER BY partition, place"
        return dict(found), [(at_ms, result) for at_ms, result in reader.execute(query, (tenant, delivery_id))]

    def _has_meta(self) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE name = 'meta'"
        return self._writer.execute(query).fetchone() is not None

    def _open(self) -> sqlite3.Connection:
        # Where no seal key is set it holds secrets; what SQLite lays beside it takes the same mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self._path, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        # What is lost with the machine's power is read from the log again.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _reader(self) -> sqlite3.Connection:
        reader: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if reader is None:
            reader = self._readers.connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=30)
            reader.row_factory = sqlite3.Row
        return reader
