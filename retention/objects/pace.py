"""When a store that has failed is asked again."""

from dataclasses import dataclass, field

_AGAIN_S = (1.0, 30.0)  # after which the store is asked again, doubling between them


@dataclass(slots=True)
class Pace:
    """When the store is asked again after it has failed."""

    since: float | None = None  # it fails
    due: float = 0.0
    pause_s: float = field(default=_AGAIN_S[0])

    @property
    def fails(self) -> bool:
        """Whether it did at the last attempt."""
        return self.since is not None

    def may(self, now: float) -> bool:
        return now >= self.due

    def failed(self, now: float) -> None:
        self.since = now if self.since is None else self.since
        self.due, self.pause_s = now + self.pause_s, min(2 * self.pause_s, _AGAIN_S[1])

    def succeeded(self) -> None:
        self.since, self.due, self.pause_s = None, 0.0, _AGAIN_S[0]
