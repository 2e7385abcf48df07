"""A mark survives a commit, and a shorter topic than it says is a lost one."""

import pytest

from streams.core import marks
from streams.core.marks import Mark


@pytest.mark.parametrize("mark", [Mark(), Mark(17, 3), Mark(None, 1), Mark(10**15, 10**6)])
def test_what_is_committed_is_read_again(mark: Mark) -> None:
    assert marks.read(str(mark)) == mark


@pytest.mark.parametrize("metadata", ["", "AQ==", "endpoints=;generation=1", "endpoints=-1;generation=0", "x" * 3_000])
def test_a_commit_without_a_mark_says_nothing(metadata: str) -> None:
    assert marks.read(metadata) == Mark(0, 0)


def test_a_topic_that_ends_before_the_mark_is_lost_and_one_being_rebuilt_is_not_there_yet() -> None:
    assert [Mark(5).is_lost(end) for end in (0, 4, 5, 6)] == [True, True, False, False]
    assert Mark(None).is_lost(100)
    assert not Mark().is_lost(0)
