"""The recording's own machine: it only ever moves towards the refusal."""

from itertools import product

import pytest

from sipagent.call.machines import Consent, Decision

ORDER = [Decision.UNDECIDED, Decision.ALLOWED, Decision.NOT_ALLOWED, Decision.REFUSED]


@pytest.mark.parametrize(("before", "after"), list(product(ORDER, ORDER)))
def test_a_decision_only_ever_moves_forward(before: Decision, after: Decision) -> None:
    forward = ORDER.index(after) > ORDER.index(before)
    assert Consent(before).becomes(Consent(after)) is forward


def test_only_allowed_is_allowed_and_only_refused_is_refused() -> None:
    assert [decision for decision in ORDER if Consent(decision).allowed] == [Decision.ALLOWED]
    assert [decision for decision in ORDER if Consent(decision).refused] == [Decision.REFUSED]


def test_a_call_begins_undecided() -> None:
    assert Consent().decision is Decision.UNDECIDED


def test_silence_is_never_called_consent() -> None:
    """GDPR article 4(11): consent is a statement or a clear affirmative action."""
    assert "consent" not in {decision.value for decision in Decision}
