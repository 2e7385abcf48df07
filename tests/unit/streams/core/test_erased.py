"""An event that was erased: whoever would have got it is told so, once, and nobody gets its data."""

import orjson
import pytest

from schemas import deliveries, topics
from schemas.changes import Subscription
from schemas.deliveries import Delivery
from schemas.endpoints import CatchUp, EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.events import Event, Sealed
from schemas.results import Verdict
from streams.core import catching_up, explaining, judging, plans, reading
from streams.core.catching_up import Past
from streams.core.explaining import Decision
from streams.core.filtering import Filterable
from streams.core.outputs import Output, Source

ERASED = Event("t", "1", "a.b", b"", sealed=Sealed("k1", b"sealed"), erased=True)
SEALED = Event("t", "1", "a.b", b'{"n":1}', sealed=Sealed("k1", b"sealed"))
SOURCE = Source("p.events", 0, 9, 100, b"t", b"sealed")


def endpoint(state: State = State.ACTIVE, kind: str = "a.*", **more: object) -> EndpointRecord:
    subscription = Subscription.model_validate({"event_types": (kind,), **more})
    settings = EndpointSettings(url="https://a.example/", subscriptions=(subscription,), secrets=())
    version = EndpointVersion(valid_from_ms=1, offset=1, state=state, since_ms=1, settings=settings)
    return EndpointRecord(tenant="t", endpoint_id="e", partition=0, current=version)


def told(output: Output) -> dict[str, object]:
    assert output.topic == topics.RESULTS
    return dict(orjson.loads(output.value or b""))


def test_a_delivery_of_a_sealed_event_has_its_data_as_it_is_sealed_and_names_the_key() -> None:
    (made,) = judging.judge(SEALED, SOURCE, [plans.of(endpoint(filter={"data": {"n": 1}}))]).outputs
    delivery = deliveries.decode(made.value, made.headers)
    assert isinstance(delivery, Delivery)
    assert (delivery.data, delivery.sealed_with) == (b"sealed", "k1")
    assert not judging.judge(SEALED, SOURCE, [plans.of(endpoint(filter={"data": {"n": 2}}))]).outputs


@pytest.mark.parametrize("given", [None, {"data": {"n": 2}}, "type = 'a.b'"])
def test_each_endpoint_that_may_have_been_owed_an_erased_event_gets_one_result(given: object) -> None:
    judged = judging.judge(ERASED, SOURCE, [plans.of(endpoint(filter=given))])
    assert (judged.deliveries, judged.skipped) == (0, 1)
    result = told(judged.outputs[0])
    assert (result["verdict"], result["error_kind"], result["attempt"]) == ("skipped", "erased", 0)
    assert result["delivery_id"] == reading.delivery_id("t", "1", "e")


@pytest.mark.parametrize(("kind", "given"), [("x", None), ("a.*", "type = 'x'")])
def test_an_endpoint_that_was_not_owed_an_erased_event_hears_nothing_of_it(kind: str, given: object) -> None:
    assert not judging.judge(ERASED, SOURCE, [plans.of(endpoint(kind=kind, filter=given))]).outputs


def test_an_endpoint_that_was_paused_is_told_that() -> None:
    (made,) = judging.judge(ERASED, SOURCE, [plans.of(endpoint(State.PAUSED))]).outputs
    assert told(made)["error_kind"] == "paused"


def test_a_filter_on_data_that_was_erased_says_so() -> None:
    filterable = Filterable(ERASED)
    assert filterable.why_not({"data": {"n": 1}}) == "its data was erased, and the filter asks for it"
    explained = explaining.explain(ERASED, SOURCE, endpoint(filter={"data": {"n": 1}}))
    assert (explained.decision, explained.reason) == (Decision.FILTERED, "a.*: " + str(filterable.why_not({"data": 1})))


@pytest.mark.parametrize("event", [ERASED, SEALED])
def test_a_replay_of_an_erased_event_ends_as_skipped_and_of_a_sealed_one_is_a_delivery(event: Event) -> None:
    catch_up = CatchUp(replay_id="r", kind="replay", since_ms=0, until_ms=999)
    past = {reading.delivery_id("t", "1", "e"): Past(Verdict.DELIVERED, 1, False)}
    made = catching_up.owed(event, SOURCE, endpoint(), catch_up, past)
    assert made is not None
    if event is SEALED:
        assert (made.topic, made.value) == (topics.DELIVERIES, b"sealed")
    else:
        assert {"verdict": "skipped", "error_kind": "erased", "replay_id": "r"}.items() <= told(made).items()
