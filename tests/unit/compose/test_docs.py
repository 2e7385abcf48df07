"""The page about an endpoint's life has every change there is."""

from compose import docs
from streams.core.transitions import TRANSITIONS


def test_every_change_is_explained() -> None:
    assert set(docs.MEANINGS) == {kind for _, kind in TRANSITIONS}
