"""The views: folded once, in pages, forgotten in time, and begun anew where they are of something else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from handlers.gateway import cursors
from handlers.gateway.folding import Fold, Folding, fold
from handlers.gateway.problems import Refusal
from handlers.gateway.views import Views
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.results import Result, Verdict
from streams.core.outputs import Source
from streams.core.partitioning import partition_of
from streams.core.sealing import Keyring

RING = Keyring({"k": bytes(range(32))})
SETTINGS = EndpointSettings(url="https://a.example/", subscriptions=(), secrets=())


@pytest.fixture
def views(tmp_path: Path) -> Iterator[Views]:
    made = Views(tmp_path / "views.sqlite", "one")
    yield made
    made.close()


def endpoint(name: str, offset: int = 0, state: State = State.ACTIVE, tenant: str = "t") -> Source:
    current = EndpointVersion(
        valid_from_ms=0, offset=offset, state=state, since_ms=0, settings=None if state is State.GONE else SETTINGS
    )
    record = EndpointRecord(tenant=tenant, endpoint_id=name, partition=0, current=current)
    return Source("endpoints", 0, offset, 0, f"{tenant}/{name}".encode(), record.encode())


def result(offset: int, delivery: str, verdict: str, at_ms: int = 0, tenant: str = "t", **more: Any) -> Source:
    made = Result(
        delivery_id=delivery, event_id="e", event_type="a", tenant=tenant, endpoint_id="ep",
        attempt=more.pop("attempt", 1), verdict=Verdict(verdict), **more,
    )  # fmt: skip
    return Source(
        "results", 0, offset, at_ms, f"{tenant}/ep".encode(), made.model_dump_json(exclude_none=True).encode()
    )


def put(views: Views, topic: str, *records: Source) -> None:
    made = Fold()
    fold(topic, records, made)
    made.positions[(topic, 0)] = records[-1].offset + 1
    views.fold(made)


def test_a_delivery_is_its_last_result_and_has_all_of_them(views: Views) -> None:
    put(views, "results", result(0, "d", "retrying", 5, event_time_ms=3), result(4, "d", "delivered", 9, attempt=2))
    found = views.delivery("t", "d")
    assert found is not None
    row, results = found
    assert (row["verdict"], row["attempt"], row["event_time_ms"], row["last_result_at_ms"]) == ("delivered", 2, 3, 9)
    assert [(at_ms, orjson.loads(raw)["verdict"]) for at_ms, raw in results] == [(5, "retrying"), (9, "delivered")]
    assert views.positions() == {("results", 0): 5}


def test_the_same_records_again_change_nothing(views: Views) -> None:
    for _ in range(2):
        put(views, "results", result(0, "d", "delivered"))
    found = views.delivery("t", "d")
    assert found is not None
    assert len(found[1]) == 1


def test_a_tenant_sees_its_own(views: Views) -> None:
    put(views, "results", result(0, "d", "delivered", tenant="u"))
    put(views, "endpoints", endpoint("ep", tenant="u"))
    assert views.delivery("t", "d") is None
    assert views.deliveries("t", {}, None, 10) == []
    assert views.endpoints("t", "", 10) == []
    assert views.endpoint("t", "ep") is None


def test_an_endpoint_that_is_gone_is_in_no_list_and_a_tombstone_ends_it(views: Views) -> None:
    put(views, "endpoints", endpoint("a"), endpoint("b", 1), endpoint("a", 2, State.GONE))
    assert len(views.endpoints("t", "", 10)) == 1
    assert views.endpoint("t", "a") is not None
    put(views, "endpoints", Source("endpoints", 0, 3, 0, b"t/a", None))
    assert views.endpoint("t", "a") is None
    put(views, "endpoints", Source("endpoints", 0, 4, 0, b"t/b", None), endpoint("b", 5))
    assert views.endpoint("t", "b") is not None


def test_pages_do_not_overlap(views: Views) -> None:
    put(views, "results", *(result(n, f"d-{n}", "delivered", event_time_ms=n // 2) for n in range(9)))
    seen: list[str] = []
    before: tuple[int, str] | None = None
    while page := views.deliveries("t", {}, before, 2):
        seen += [row["delivery_id"] for row in page]
        before = (page[-1]["event_time_ms"], page[-1]["delivery_id"])
    assert seen == [f"d-{n}" for n in reversed(range(9))]
    assert [row["delivery_id"] for row in views.deliveries("t", {"since_ms": 1, "until_ms": 2}, None, 9)] == [
        "d-3",
        "d-2",
    ]
    assert views.deliveries("t", {"verdict": "dead"}, None, 9) == []


def test_what_is_old_is_forgotten(views: Views) -> None:
    put(views, "results", result(0, "old", "delivered", 10), result(1, "new", "delivered", 20))
    assert views.forget_before(15) == 1
    assert views.delivery("t", "old") is None
    assert views.delivery("t", "new") is not None


def test_it_is_whole_when_that_is_said_and_a_file_of_another_kafka_is_begun_anew(tmp_path: Path, views: Views) -> None:
    assert not views.is_whole()
    views.set_whole()
    put(views, "results", result(0, "d", "delivered"))
    views.close()
    again = Views(tmp_path / "views.sqlite", "one")
    assert (again.is_whole(), again.positions()) == (True, {("results", 0): 1})
    again.close()
    other = Views(tmp_path / "views.sqlite", "another")
    assert (other.is_whole(), other.positions()) == (False, {})
    other.close()


def test_what_is_of_another_cluster_is_forgotten(views: Views) -> None:
    for cluster, known in (("a", True), ("a", True), ("b", False)):
        views.belong_to(cluster)
        if cluster == "a":
            put(views, "results", result(0, "d", "delivered"))
            views.set_whole()
        assert (views.is_whole(), views.delivery("t", "d") is not None, bool(views.positions())) == (known,) * 3


def test_a_partition_may_be_forgotten(views: Views) -> None:
    put(views, "endpoints", endpoint("a"))
    views.forget("endpoints", 0)
    assert (views.endpoint("t", "a"), views.positions()) == (None, {})


def test_what_cannot_be_read_is_passed_over(views: Views) -> None:
    wrong = [Source("results", 0, n, 0, b"t/ep", value) for n, value in enumerate((b"", b"no", b"[]", b"{}"))]
    put(views, "results", *wrong, result(9, "d", "delivered"))
    put(views, "endpoints", Source("endpoints", 0, 0, 0, b"t/x", b"{}"), endpoint("a", 1))
    assert views.delivery("t", "d") is not None
    assert len(views.endpoints("t", "", 10)) == 1


def test_cursors_are_read_back_and_others_refused() -> None:
    assert cursors.read(cursors.make(5, "d-1"), (int, str)) == (5, "d-1")
    for wrong in ("", "x", "W10", cursors.make("d", 5), cursors.make(True, "d"), cursors.make(5), "WzFd====", "é"):
        with pytest.raises(Refusal):
            cursors.read(wrong, (int, str))


def source_change(offset: int, kind: str = "registered", key: bytes = b"t", **fields: Any) -> Source:
    given = {"source_id": "s", "scheme": "github", "secrets": ["secret"], "type": f"source.{kind}", **fields}
    return Source("subscriptions", 0, offset, 1_000 + offset, key, orjson.dumps(given))


def change(views: Views, *records: Source, ring: Keyring = RING, partitions: int = 1) -> None:
    made = Fold()
    fold("subscriptions", records, made, Folding(ring, partitions))
    made.positions[("subscriptions", 0)] = records[-1].offset + 1
    views.fold(made)


def test_a_source_is_its_last_change_sealed_at_rest(views: Views) -> None:
    change(views, source_change(0), source_change(1, scheme="bearer"), source_change(2, source_id="r"))
    found = views.source("t", "s")
    assert found is not None
    assert (found.at_ms, found.partition, orjson.loads(found.record)["scheme"]) == (1_001, 0, "bearer")
    assert b"secret" not in found.record.replace(b"secrets", b"")
    assert orjson.loads(found.record)["secrets"] == [RING.seal("secret", "t", "in/s")]
    assert [row.source_id for row in views.sources("t", "", 10)] == ["r", "s"]
    assert [row.source_id for row in views.sources("t", "r", 10)] == ["s"]
    assert (views.source("u", "s"), views.sources("u", "", 10)) == (None, [])
    change(views, source_change(3, "unregistered"), source_change(4, "unregistered", source_id="never"))
    assert views.source("t", "s") is None
    change(views, source_change(5))
    assert views.source("t", "s") is not None
    views.forget("subscriptions", 0)
    assert (views.source("t", "s"), views.positions()) == (None, {})


def test_what_the_router_rejects_or_moves_is_no_source(views: Views) -> None:
    wrong = [
        source_change(0, header="x"),
        source_change(1, secrets=[]),
        source_change(2, secrets=["sealed:e.k.AAAA"]),
        source_change(3, key=b"a/b"),
        *(Source("subscriptions", 0, 4, 0, b"t", value) for value in (None, b"", b"no", b"[]", b"{}", b'{"type":[]}')),
        Source("subscriptions", 0, 5, 0, b"t", b'{"type":"endpoint.paused","endpoint_id":"s"}'),
        Source("subscriptions", 0, 6, 0, None, source_change(6).value),
    ]
    change(views, *wrong)
    assert views.sources("t", "", 10) == []
    # Of four partitions, one that is not `t`'s: the router moves it to where it counts.
    here = partition_of(b"t", 4) == 0
    change(views, source_change(7), partitions=4)
    assert (views.source("t", "s") is not None) is here
    change(views, source_change(8), ring=Keyring({}))
    found = views.source("t", "s")
    assert found is not None
    # A wrong one replaces nothing.
    change(views, source_change(9, secrets=[""]))
    assert views.source("t", "s") == found
