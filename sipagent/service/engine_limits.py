"""What the engine has of everything that can run out: asked once, in a separate process, which ends."""

import functools

from sipagent.config.layout import FEWEST, EngineLimits
from sipagent.config.load import Config
from sipagent.service.processes.children import asked


@functools.cache
def engine_limits() -> EngineLimits:
    """Raises EOFError: the process died."""
    limits: EngineLimits
    _, limits, _ = asked("sipagent.pjsip.about:tell")
    return limits


def limits_for(config: Config) -> EngineLimits:
    """The engine's limits; for one call those that any engine has, and none is asked."""
    one = config.capacity.calls == 1 and config.capacity.calls_per_process is None
    return FEWEST if one else engine_limits()
