"""One service for each test, in the shape that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.attack.site import SHAPES, Shape, Site

Make = Callable[..., Site]


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    found: Shape = request.param
    return found


@pytest.fixture
def site(shape: Shape, tmp_path: Path) -> Iterator[Make]:
    """`site(refusal={"mode": "opt_in"})`: a running service."""
    with ExitStack() as stack:

        def make(**overrides: Any) -> Site:
            return Site(tmp_path / "agent", stack, shape, **overrides).start()

        yield make
