"""What native objects with callbacks need: the engine that they tell, and that nothing escapes."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import pjsua2 as pj

from media.frame import Samples
from sipagent.agent.engine import EngineFault, EngineSettings
from sipagent.config.layout import EngineLimits


class Owner(Protocol):
    """The engine, as far as all that it owns knows it."""

    @property
    def settings(self) -> EngineSettings:
        """With `report` and `audio`, which any thread may call."""

    @property
    def samples_of(self) -> Callable[[pj.MediaFrame], Samples]:
        """How a frame's samples are read."""

    @property
    def limits(self) -> EngineLimits:
        """How much of everything there is."""

    @property
    def later(self) -> list[Callable[[], object]]:
        """What a callback may not do itself."""

    def next_number(self) -> int:
        """A number that no leg and no sound has had."""

    def wake(self) -> None:
        """End a `poll` early; any thread."""


class Owned(Protocol):
    """A native object whose callbacks are guarded."""

    @property
    def engine(self) -> Owner: ...


P = ParamSpec("P")
Native = TypeVar("Native", bound=Owned)


def guarded_callback(
    callback: Callable[Concatenate[Native, P], None],
) -> Callable[Concatenate[Native, P], None]:
    """An exception in a callback would be printed and forgotten; make it a report instead."""

    @functools.wraps(callback)
    def guarded(native: Native, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(native, *args, **kwargs)
        except Exception as failure:  # noqa: BLE001 - nothing may escape into native code
            native.engine.settings.report(EngineFault(f"{callback.__qualname__}: {failure!r}"))

    return guarded
