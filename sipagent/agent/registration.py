"""When to ask the registrar again. The engine refreshes what is granted; this backs off from what is not."""

FIRST_S = 1.0
LONGEST_S = 60.0


class Registrar:
    """Pure; times are monotonic seconds. `wanted`: whether there is a registrar at all."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.active = False
        self.deadline: float | None = 0.0 if wanted else None
        self._retry_s = FIRST_S

    def due(self, now: float) -> bool:
        """Whether to ask now; the answer is then awaited."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        return True

    def answered(self, active: bool, now: float) -> float | None:
        """The registrar has answered, or nothing came: in how many seconds to ask again, if at all."""
        self.active = active
        if active:
            self._retry_s = FIRST_S
            self.deadline = None
            return None
        retry_s = self._retry_s
        self.deadline = now + retry_s
        self._retry_s = min(2 * retry_s, LONGEST_S)
        return retry_s
