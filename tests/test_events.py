"""Facts and commands are plain frozen values, and none is forgotten where they are counted up."""

import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import get_args

import pytest

from sipagent.call import events as e
from sipagent.call.flow import ANYWHERE, REACTIONS

FACTS, COMMANDS, OF_A_LEG = (set(get_args(union)) for union in (e.Fact, e.Command, e.LegFact))
VALUES = [one for one in vars(e).values() if inspect.isclass(one) and is_dataclass(one)]


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_each_is_a_fact_or_a_command_and_says_what_it_means(kind: type) -> None:
    assert (kind in FACTS) != (kind in COMMANDS)
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_none_can_be_changed(kind: type) -> None:
    value = kind(*range(len(inspect.signature(kind).parameters)))
    assert not hasattr(value, "__dict__")
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)


def test_those_that_name_a_leg_are_known_as_such() -> None:
    assert {fact for fact in FACTS if "leg" in {field.name for field in fields(fact)}} == OF_A_LEG


def test_the_flow_has_an_answer_to_every_fact() -> None:
    assert {fact for _, fact in REACTIONS} | set(ANYWHERE) == FACTS
