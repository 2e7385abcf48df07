"""A mark survives a commit, and a shorter topic than it says is a lost one."""

import pytest

from streams.core import marks
from streams.core.marks import Mark


@pytest.mark.parametrize("mark", [Mark(), Mark(17, 3, 2), Mark(None, 5, 1), Mark(10**15, 10**14, 10**6)])
def test_what_is_committed_is_read_again(mark: Mark) -> None:
    assert marks.read(str(mark)) == mark


@pytest.mark.parametrize(
    "metadata", ["", "AQ==", "endpoints=;first=0;generation=1", "endpoints=-1;first=0;generation=0", "x" * 3_000]
)
def test_a_commit_without_a_mark_says_nothing(metadata: str) -> None:
    assert marks.read(metadata) == Mark(0, 0, 0)


def test_a_topic_that_does_not_reach_as_far_as_the_mark_says_is_lost_on_either_side() -> None:
    assert [Mark(5).is_lost(0, end) for end in (0, 4, 5, 6)] == [True, True, False, False]
    assert [Mark(9, 3).is_lost(first, 20) for first in (0, 3, 4)] == [False, False, True]
    assert Mark(None).is_lost(0, 100)
    assert not Mark().is_lost(0, 0)
