"""Who is to be rung: the operators' board of one process. Pure; times are monotonic seconds.

Operators are taken in the order of the configuration. One who is being rung or talks is not rung for
another caller, and has `wrap_up_s` of rest after a conversation. Who came first is served first: while an
earlier caller waits with nobody ringing, a later one gets nobody.
"""


class Board:
    def __init__(self, extensions: tuple[str, ...], wrap_up_s: float = 0.0) -> None:
        self.extensions = extensions
        self.wrap_up_s = wrap_up_s
        self._waiting: list[str] = []  # calls, in the order in which they came
        self._engaged: dict[str, str] = {}  # operator → call
        self._rests_until: dict[str, float] = {}

    def seek(self, call: str, tried: tuple[str, ...], now: float) -> str | None:
        """The operator to ring for a call, who is its own from here on; None: none for now."""
        if call not in self._waiting:
            self._waiting.append(call)
        served = set(self._engaged.values())
        if any(earlier not in served for earlier in self._waiting[: self._waiting.index(call)]):
            return None
        for uri in self.extensions:
            if uri not in tried and uri not in self._engaged and now >= self._rests_until.get(uri, now):
                self._engaged[uri] = call
                return uri
        return None

    def release(self, uri: str, now: float, talked: bool) -> None:
        """The operator is free again, after a rest where there was a conversation."""
        if self._engaged.pop(uri, None) and talked:
            self._rests_until[uri] = now + self.wrap_up_s

    def served(self, call: str) -> None:
        """The call waits no longer."""
        if call in self._waiting:
            self._waiting.remove(call)

    def leave(self, call: str) -> None:
        """The call is over: nobody is rung for it any more."""
        self.served(call)
        self._engaged = {uri: other for uri, other in self._engaged.items() if other != call}
