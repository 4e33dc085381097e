"""When the registrar is asked again."""

from sipagent.agent.engine import LONGEST_PAUSE_S, Registrar


def test_without_a_registrar_nobody_is_asked() -> None:
    registrar = Registrar(wanted=False)
    assert registrar.deadline is None
    assert not registrar.due(1e9)


def test_it_is_asked_at_once_and_then_its_answer_awaited() -> None:
    registrar = Registrar(wanted=True)
    assert registrar.due(1000.0)
    assert not registrar.due(2000.0)


def test_each_failure_doubles_the_wait_up_to_a_minute() -> None:
    registrar, now, waits = Registrar(wanted=True), 1000.0, []
    for _ in range(9):
        assert registrar.due(now)
        wait = registrar.answered(active=False, now=now)
        assert wait is not None
        assert not registrar.due(now + wait - 0.01)
        waits.append(wait)
        now += wait
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert max(waits) == LONGEST_PAUSE_S
    assert not registrar.active


def test_a_success_ends_the_asking_and_forgets_the_failures() -> None:
    registrar = Registrar(wanted=True)
    for _ in range(5):
        registrar.answered(active=False, now=0.0)
    assert registrar.answered(active=True, now=100.0) is None
    assert (registrar.active, registrar.deadline) == (True, None)
    assert registrar.answered(active=False, now=200.0) == 1.0
    assert registrar.due(201.0)
