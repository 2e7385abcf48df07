"""Settings are clear or refused, and records are read back as they were written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import deliveries, settings
from schemas.deliveries import Delivery
from schemas.settings import EgressSettings, RouterSettings, Settings
from schemas.topics import topic_map


@pytest.mark.parametrize(
    ("text", "ms"), [("500ms", 500), ("5s", 5_000), ("30m", 1_800_000), ("2h", 7_200_000), ("1d", 86_400_000)]
)
def test_a_duration_has_a_unit(text: str, ms: int) -> None:
    assert settings.parse_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "1.5s", "5x", "31d", "999999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        settings.parse_duration_ms(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARTITIONS", "many"),
        ("PARTITIONS", "0"),
        ("PREFIX", "a b"),
        ("RETRY_SCHEDULE", "5s,soon"),
        ("ALLOW_NETWORKS", "10.0.0.0/99"),
        ("DELAY_TIERS", "5s,1s"),
        ("DELAY_TIERS", ""),
        ("TIMEOUT_MS", "0"),
        ("RETRY_JITTER", "2"),
        ("KAFKA_SECURITY", "rot13"),
        ("INSTANCE", "a/b"),
    ],
)
def test_a_bad_setting_is_one_line_with_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"HOOKFOLD_{name}", value)
    if not value:
        return  # an empty variable is one that is not set
    found = settings.load(EgressSettings)
    assert isinstance(found, str)
    assert f"HOOKFOLD_{name}" in found
    assert "\n" not in found


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKFOLD_KAFKA_PASSWORD", "hunter2")
    assert "hunter2" not in repr(settings.load(Settings))


def test_defaults_are_those_of_the_contract() -> None:
    egress, router = EgressSettings(), RouterSettings()
    assert egress.schedule_ms == (5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 36_000_000)
    assert (egress.timeout_ms, egress.retry_jitter, egress.egress_port) == (15_000, 0.1, 6067)
    assert (router.router_port, router.partitions, router.prefix, router.allow_http) == (6066, 8, "hookfold.", False)


def test_every_topic_that_decides_by_time_has_the_brokers() -> None:
    rows = topic_map(Settings().tiers_ms)
    assert len(rows) == 8 + 7
    assert {row.config()["message.timestamp.type"] for row in rows} == {"LogAppendTime"}
    assert {row.name for row in rows if row.cleanup == "compact"} == {"endpoints"}


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@given(
    st.fixed_dictionaries(
        {
            "delivery_id": TEXT,
            "event_id": TEXT,
            "event_type": TEXT,
            "tenant": st.from_regex(r"\A[A-Za-z0-9_-]{1,128}\Z"),
            "endpoint_id": st.from_regex(r"\A[A-Za-z0-9_-]{1,128}\Z"),
            "endpoint_version": st.just("3-14"),
            "event_time_ms": st.integers(0, 1 << 50),
            "attempt": st.integers(1, 100),
            "due_at_ms": st.one_of(st.none(), st.integers(0, 1 << 50)),
            "event_time": st.one_of(st.none(), TEXT),
            "attributes": st.dictionaries(TEXT, TEXT, max_size=3),
            "data": st.binary(),
        }
    )
)
def test_a_delivery_is_read_back_as_it_was_written(fields: dict[str, Any]) -> None:
    made = Delivery(**fields)
    assert deliveries.decode(made.data, [*made.headers(), ("of-the-future", b"x")]) == made
