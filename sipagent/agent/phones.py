"""Operators' phones that were rung in vain: counted for each extension, and told where one is out of order.

A phone that is busy, declines or rings without an answer is a phone that works: it is counted alone. One that
is off, sends nothing or refuses for another reason is told once, and then once in a while until it is there.
"""

from collections import Counter
from collections.abc import Collection

import structlog

from sipagent.call import events as e

AGAIN_S = 600.0  # between two words about the same phone: each caller who waits rings it again and again
WORKS: frozenset[e.Problem] = frozenset({"busy", "declined", "no_answer"})

log = structlog.get_logger(__name__)


class Phones:
    """The SIP thread's; `counts` may be copied on any. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()  # by extension and problem
        self._told: dict[str, float] = {}  # whom we dial, so as many as are configured

    def failed(self, report: e.ReportOperator, extensions: Collection[str], call: str, now: float) -> None:
        """`extensions`: those that are counted, so that figures have no more labels than they."""
        uri, problem = report.uri, report.problem
        if uri in extensions:
            self.counts[uri, problem] += 1
        if problem not in WORKS and now - self._told.get(uri, -AGAIN_S) >= AGAIN_S:
            self._told[uri] = now
            log.warning("operator_failed", call=call, operator=uri, problem=problem, status=report.status)

    def talks(self, uri: str | None) -> None:
        """There is a conversation with this one."""
        if uri is not None and self._told.pop(uri, None) is not None:
            log.info("operator_back", operator=uri)
