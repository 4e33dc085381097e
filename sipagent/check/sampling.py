"""Whether calls can be drawn for recording, and draws repeated: the seed, and windows without effect."""

from collections.abc import Iterator

from sipagent.agent.recorder.stored import is_there
from sipagent.config.finding import Finding, error, ok, warning
from sipagent.config.load import Config
from sipagent.config.sampling import Window
from sipagent.config.seed import SeedError, read_seed


def sampling_findings(config: Config) -> Iterator[Finding]:
    """Look at the seed, which is made at the first start, and for windows in which no one can call."""
    yield from _seed(config)
    week = config.hours and config.hours.week
    for number, window in enumerate(config.shares().windows):
        if week and not any(window.overlaps(Window((day,), hours, 1.0)) for day, hours in enumerate(week)):
            yield warning(f"recording.window[{number}]", "without effect: never within hours.week")


def _seed(config: Config) -> Iterator[Finding]:
    path = config.places.seed
    try:
        seed, mode = read_seed(path), path.stat().st_mode & 0o777
    except FileNotFoundError:
        if is_there(config):
            lost = "draws so far can no longer be repeated, unless a copy is put back"
            yield warning("seed", f"{path} is missing: made anew at the next start; {lost}")
        return
    except SeedError as problem:
        yield error("seed", f"{problem}; no call is drawn where recording.share is below 1")
    except OSError as problem:
        yield error("seed", f"{path}: {problem.strerror}; no call is drawn where recording.share is below 1")
    else:
        if mode & 0o077:
            told = "who reads it knows beforehand who is drawn"
            yield error("seed", f"others may read {path} (mode {mode:04o}): {told}; chmod 0600")
        else:
            yield ok("seed", f"{path}: {seed.name}")
