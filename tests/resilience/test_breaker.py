"""The circuit breaker opens, probes and recovers, by its own clock."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_flywheel.resilience import Breaker
from tests.stores.worlds import Clock

PAUSE, LONGEST, PATIENCE = 1.0, 8.0, 30.0


def breaker_at(clock: Clock) -> Breaker:
    return Breaker(failures=3, pause=PAUSE, longest_pause=LONGEST, patience=PATIENCE, clock=clock)


def opened(clock: Clock) -> Breaker:
    breaker = breaker_at(clock)
    for _ in range(3):
        breaker.failed()
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """It takes three failures in a row to open it; an answer in between begins the count anew."""
    breaker = breaker_at(Clock())
    for _ in range(2):
        breaker.failed()
    breaker.succeeded()
    for _ in range(2):
        breaker.failed()
    assert breaker.admits
    breaker.failed()
    assert (breaker.admits, breaker.state) == (False, "open")


def test_one_probe_is_let_through_when_it_is_time() -> None:
    """A probe may start after the pause and not before, and only one at a time; no caller may."""
    clock = Clock()
    breaker = opened(clock)
    assert (breaker.until_probe(), breaker.start_probe()) == (PAUSE, False)
    clock.now += PAUSE
    assert (breaker.until_probe(), breaker.start_probe(), breaker.start_probe()) == (0, True, False)
    assert (breaker.admits, breaker.state) == (False, "half-open")


def test_an_answered_probe_closes_it() -> None:
    """A probe that is answered closes it, and it counts failures from none again."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    breaker.start_probe()
    breaker.succeeded()
    assert breaker.admits
    breaker.failed()
    breaker.failed()
    assert breaker.admits


def test_the_pause_doubles_up_to_the_longest() -> None:
    """Each probe that fails doubles the pause up to the longest one; an answer makes it the first one again."""
    clock, pauses = Clock(), []
    breaker = opened(clock)
    for _ in range(6):
        pauses.append(breaker.until_probe())
        clock.now += breaker.until_probe()
        assert breaker.start_probe()
        breaker.failed()
    assert pauses == [1, 2, 4, 8, 8, 8]
    breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    assert breaker.until_probe() == PAUSE


def test_late_failures_do_not_put_off_the_probe() -> None:
    """Calls that were under way when it opened and fail later do not move the probe."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE / 2
    breaker.failed()
    assert breaker.until_probe() == PAUSE / 2


def test_a_probe_that_nobody_answers_for_gives_way() -> None:
    """A probe whose event loop has ended does not keep it half-open for ever."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE
    assert breaker.start_probe()
    clock.now += PATIENCE
    assert breaker.start_probe()


class BreakerMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, it is never stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = breaker_at(self.clock)

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def a_call_fails(self) -> None:
        self.breaker.failed()

    @rule()
    def a_call_is_answered(self) -> None:
        self.breaker.succeeded()
        assert self.breaker.admits

    @rule()
    def somebody_probes(self) -> None:
        due = self.breaker.state != "closed" and self.breaker.until_probe() == 0
        assert self.breaker.start_probe() == due

    @precondition(lambda self: not self.breaker.admits)
    @rule()
    def it_recovers_within_its_longest_wait(self) -> None:
        self.clock.now += max(LONGEST, PATIENCE)
        assert self.breaker.start_probe()
        self.breaker.succeeded()
        assert self.breaker.admits

    @invariant()
    def a_probe_is_never_far(self) -> None:
        assert self.breaker.admits or self.breaker.until_probe() <= max(LONGEST, PATIENCE) + 1e-3

    @invariant()
    def it_admits_when_it_is_closed_only(self) -> None:
        assert self.breaker.admits == (self.breaker.state == "closed")


TestBreakerMachine = BreakerMachine.TestCase
