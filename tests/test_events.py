"""Facts and commands are plain frozen values, and none is forgotten where they are counted up."""

import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import get_args

import pytest

from sipagent.call import events as e
from sipagent.call.flow import ANYWHERE, REACTIONS

BASES = (e.Fact, e.LegFact, e.LegOrder)
COMMANDS = set(get_args(e.Command))
VALUES = [one for one in vars(e).values() if inspect.isclass(one) and is_dataclass(one) and one not in BASES]
FACTS = {one for one in VALUES if issubclass(one, e.Fact)}


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_each_is_a_fact_or_a_command_and_says_what_it_means(kind: type) -> None:
    assert (kind in FACTS) != (kind in COMMANDS)
    assert issubclass(kind, e.LegFact) == (kind in FACTS and "leg" in {field.name for field in fields(kind)})
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_none_can_be_changed(kind: type) -> None:
    value = kind(*range(len(inspect.signature(kind).parameters)))
    assert not hasattr(value, "__dict__")
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)


def test_the_flow_has_an_answer_to_every_fact() -> None:
    assert {fact for _, fact in REACTIONS} | set(ANYWHERE) == FACTS
