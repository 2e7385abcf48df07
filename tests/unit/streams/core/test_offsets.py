"""Work that ends out of order is neither lost nor done twice, whatever is taken, done, skipped and committed when."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import offsets
from streams.core.offsets import OffsetWindow

STEPS = st.lists(
    st.sampled_from(["take", "take", "take", "complete", "complete", "skip", "commit", "restart"]), max_size=80
)


class Run:
    """A partition that is worked on.

    A restart goes back to what was committed, forgets the rest, and reads again what had been read before.
    """

    def __init__(self, records: list[int]) -> None:
        self.records = records
        self.end = records[-1] + 1
        self.window = OffsetWindow()
        self.committed: tuple[int, str] = (0, "")
        self.finished: set[int] = set()  # since the last commit
        self.done: list[int] = []  # with a committed transaction
        self.taken: list[int] = []
        self.reached = 0

    def take(self) -> None:
        following = [offset for offset in self.records if offset >= self.window.position]
        if following and self.window.take(following[0]):
            assert following[0] not in self.done
            self.taken.append(following[0])
        self.reached = max(self.reached, self.window.position)

    def complete(self, which: int) -> None:
        if self.taken:
            offset = self.taken.pop(which % len(self.taken))
            assert self.window.holds(offset)
            self.window.complete(offset)
            self.finished.add(offset)

    def skip(self) -> None:
        following = [offset for offset in self.records if offset >= self.window.position]
        self.window.skip_to(following[0] if following else self.end)

    def commit(self) -> None:
        self.committed = (self.window.floor, self.window.metadata())
        self.done += sorted(self.finished)
        self.finished = set()

    def restart(self) -> None:
        floor, metadata = self.committed
        self.window = OffsetWindow(floor, offsets.decode_metadata(floor, metadata))
        self.finished, self.taken = set(), []
        while self.window.position < self.reached and any(o >= self.window.position for o in self.records):
            self.take()


@settings(max_examples=70)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=40),
    STEPS,
    st.lists(st.integers(0, 50), min_size=80, max_size=80),
)
def test_each_offset_is_done_exactly_once_over_any_interleaving_and_restart(
    gaps: list[int], steps: list[str], choices: list[int]
) -> None:
    run = Run([sum(gaps[: place + 1]) for place in range(len(gaps))])
    for step, choice in zip(steps, choices, strict=False):
        match step:
            case "take":
                run.take()
            case "complete":
                run.complete(choice)
            case "skip":
                run.skip()
            case "commit":
                run.commit()
            case "restart":
                run.restart()
        still_open = [offset for offset in run.records if run.window.holds(offset)]
        assert sorted(run.taken) == still_open
        assert run.window.floor == min(still_open, default=run.window.position)
        assert run.window.span == run.window.position - run.window.floor
    run.restart()
    while any(offset >= run.window.position for offset in run.records):
        run.take()
    while run.taken:
        run.complete(0)
    run.commit()
    assert sorted(run.done) == run.records
    assert run.committed == (run.end, "")


@settings(max_examples=30)
@given(st.integers(0, 10**12), st.sets(st.integers(0, 299)))
def test_a_commit_tells_exactly_what_is_done_above_the_floor(start: int, finished: set[int]) -> None:
    window = OffsetWindow(start)
    for distance in range(300):
        assert window.take(start + distance)
    for distance in finished:
        window.complete(start + distance)
    told = offsets.decode_metadata(window.floor, window.metadata())
    assert {offset - start for offset in told} == {place for place in finished if start + place > window.floor}


def test_a_full_window_fits_a_commit_whichever_offsets_are_done() -> None:
    for every in (1, 2, 7, offsets.WINDOW):
        window = OffsetWindow(5)
        for offset in range(5, 5 + offsets.WINDOW):
            assert window.take(offset)
        for offset in range(6, 5 + offsets.WINDOW, every):
            window.complete(offset)
        assert window.span == offsets.WINDOW == 18_000
        assert len(window.metadata()) <= 3_000


def test_a_record_is_not_taken_again_while_it_is_worked_on_or_below_the_position() -> None:
    window = OffsetWindow(10)
    assert not window.take(9)
    assert window.take(10)
    assert not window.take(10)
    window.complete(10)
    assert not window.take(10)
    assert (window.floor, window.position, window.metadata()) == (11, 11, "")


def test_skipping_never_passes_an_open_offset_nor_goes_back() -> None:
    window = OffsetWindow(0)
    assert window.take(3)
    window.skip_to(20)
    assert (window.floor, window.position) == (3, 20)
    window.skip_to(7)
    assert window.position == 20
    window.complete(3)
    assert window.floor == 20


def test_completing_what_was_never_taken_changes_nothing() -> None:
    window = OffsetWindow(0)
    assert window.take(0)
    window.complete(5)
    assert (window.floor, window.holds(0), window.holds(5)) == (0, True, False)
