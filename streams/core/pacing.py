"""When a lane may begin its next transaction: at once while that costs little, seldom where a process is busy."""

import math
from dataclasses import dataclass

#: CPU time of a transaction, here and at the broker, s. It is the same for one record and for a thousand.
PRICE_S = 0.006
#: Share of one core that the transactions of a process may take, while little is to be done and while much is.
CALM_SHARE = 0.4
BUSY_SHARE = 0.06
#: Records a second, over all lanes of a process, up to which it is calm, and from which on it is busy.
CALM_PER_S = 100.0
BUSY_PER_S = 1_500.0
#: A transaction that takes longer than so many times its best has a machine, or a broker, with other things to do:
#: the rate then counts for more, up to so many times.
CALM_TIMES = 2.0
MOST_TIMES = 5.0
#: What the rate is measured over, and the weight of the last transaction in how long they take.
MEMORY_S = 1.0
WEIGHT = 0.1
#: After so long the best time counts as twice what it was: brokers move.
BEST_DOUBLES_S = 600.0
#: A burst that is let through at once after some calm, in transactions.
BURST = 16
#: Right after a transaction's end the broker is still writing it down, and refuses the next one of the same lane.
SETTLE_S = 0.005

#: A clock may be of any age, and a process idle for weeks.
MAX_DOUBLES = 50.0


@dataclass(frozen=True, slots=True)
class Patience:
    """What a service allows its lanes. `longest_ms`: between two transactions of a lane with something to commit.

    `linger_ms`: how long the first record of a transaction waits for company although it could go.
    """

    longest_ms: int
    linger_ms: int = 0


class Pacer:
    """The transactions of all lanes of one process. Times are of a steady clock, s.

    A lane asks for a turn when it has something to commit, and takes then whatever there is by the time that it gets.
    Turns are given in the order of asking, a price apart from each other, but for a burst after some calm. So lanes
    that are busy get equal shares, and one among idle ones need not wait.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        #: When the next turn would be due if there was no burst.
        self._next_s = -math.inf
        self._rate_per_s = 0.0
        self._counted_s = 0.0
        self._best_s = math.inf
        self._usual_s = 0.0

    def distance_s(self, now_s: float) -> float:
        """From one turn to the next, over all lanes."""
        slowness = min(MOST_TIMES, max(1.0, self._usual_s / self._best_s / CALM_TIMES))
        busy = (self.rate_per_s(now_s) * slowness - CALM_PER_S) / (BUSY_PER_S - CALM_PER_S)
        busy = min(1.0, max(0.0, busy))
        return PRICE_S / (CALM_SHARE + (BUSY_SHARE - CALM_SHARE) * busy)

    def turn(self, now_s: float, ended_s: float) -> float:
        """When a lane whose last transaction ended at `ended_s` may begin one: `now_s` or later."""
        distance_s = self.distance_s(now_s)
        latest_s = now_s + self._patience.longest_ms / 1_000
        earliest_s = max(self._next_s, now_s - BURST * distance_s)
        # Many lanes that may not wait longer must not run up a debt.
        self._next_s = min(earliest_s + distance_s, latest_s)
        company_s = now_s + self._patience.linger_ms / 1_000
        return max(now_s, ended_s + SETTLE_S, min(max(company_s, earliest_s), latest_s))

    def unused(self, now_s: float) -> None:
        """A lane had nothing to commit after all: its turn is another's."""
        self._next_s -= self.distance_s(now_s)

    def ended(self, now_s: float, records: int, took_s: float) -> None:
        """A transaction with so many records is over."""
        self._rate_per_s = self.rate_per_s(now_s) + records / MEMORY_S
        self._best_s = min(
            max(took_s, 0.001), self._best_s * 2 ** min(MAX_DOUBLES, (now_s - self._counted_s) / BEST_DOUBLES_S)
        )
        self._usual_s += WEIGHT * (took_s - self._usual_s)
        self._counted_s = now_s

    def rate_per_s(self, now_s: float) -> float:
        """Records a second in the last while."""
        return self._rate_per_s * math.exp(min(0.0, self._counted_s - now_s) / MEMORY_S)
