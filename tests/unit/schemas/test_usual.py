"""A delivery that has what nearly all have is read another way: to the same end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import deliveries
from schemas.deliveries import Delivery


def headers_of(name: str) -> st.SearchStrategy[bytes]:
    good = b"7" if name in ("attempt", "event-time-ms") else b"3-14" if name == "endpoint-version" else b"name"
    odd = st.sampled_from([b"", b"0", b"-1", b"1_0", b" 5", b"1-2\n", "٣-٤".encode(), b"\xff", b"a b", b"x" * 200])
    return st.one_of(st.just(good), st.just(good), st.just(good), odd)


@settings(max_examples=300)
@given(st.sets(st.sampled_from(sorted(deliveries._USUAL)), max_size=2), st.data())
def test_a_usual_delivery_is_read_as_any_is(left_out: set[str], data: st.DataObject) -> None:
    headers = [(name, data.draw(headers_of(name))) for name in sorted(deliveries._USUAL - left_out)]
    usual, any_ = deliveries._usual(b"{}", headers), deliveries._any(b"{}", headers)
    if usual is not None:
        assert usual == any_
        assert isinstance(any_, Delivery)
        assert vars(usual).keys() == vars(any_).keys()
        assert usual.model_copy(update={"attempt": 9}).headers() == any_.model_copy(update={"attempt": 9}).headers()
    elif isinstance(any_, Delivery):
        assert left_out & {"attempt"} or b"\n" not in any_.endpoint_version.encode()


def test_a_delivery_without_anything_odd_is_read_as_a_usual_one() -> None:
    named = {name: b"7" if name in ("attempt", "event-time-ms") else b"3-14" for name in deliveries._USUAL}
    assert deliveries._usual(b"{}", list(named.items())) is not None
    assert deliveries._usual(b"{}", [*named.items(), ("order-key", b"1")]) is None
