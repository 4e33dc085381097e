"""The threads that sound depends on come first, both or none."""

import os
from contextlib import ExitStack
from pathlib import Path

from sipagent.pjsip.library import CLOCK, MEDIA, hurry
from tests.loopback import Loopback, scene
from tests.urgency import forbid_real_time, real_time_is_allowed


def policies() -> dict[str, int]:
    """How this process's threads are scheduled, by their names."""
    tasks = list(Path("/proc/self/task").iterdir())
    return {(task / "comm").read_text().strip(): os.sched_getscheduler(int(task.name)) for task in tasks}


@scene
def test_who_receives_rtp_is_as_urgent_as_the_clock(stack: ExitStack) -> None:
    wanted = os.SCHED_RR if real_time_is_allowed() else os.SCHED_OTHER
    office = Loopback(stack)
    office.answered()
    urgent = {CLOCK: wanted, MEDIA: wanted}
    office.until(lambda: policies().items() >= urgent.items(), "urgent threads")
    others = [policy for name, policy in policies().items() if name not in (CLOCK, MEDIA)]
    assert set(others) == {os.SCHED_OTHER}


@scene
def test_each_clock_anew(stack: ExitStack) -> None:
    """It ends with the last leg."""
    wanted = os.SCHED_RR if real_time_is_allowed() else os.SCHED_OTHER
    office = Loopback(stack)
    for _ in range(2):
        _, leg = office.answered()
        office.until(lambda: policies().get(CLOCK) == wanted, "an urgent clock")
        office.engine.hang_up(leg)
        office.until(lambda: CLOCK not in policies(), "end of the clock")


@scene
def test_where_it_is_not_allowed_nothing_changes(stack: ExitStack) -> None:
    forbid_real_time()
    office = Loopback(stack)
    call, leg = office.answered()
    office.engine.listen(leg)
    office.frames(call, 0.5)
    assert hurry(MEDIA)
    assert set(policies().values()) == {os.SCHED_OTHER}


def test_a_thread_that_is_not_there_yet() -> None:
    assert not hurry("nobody")
