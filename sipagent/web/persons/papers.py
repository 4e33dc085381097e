"""Certificates that were just made, for who made them: so that a page which is asked for again has them."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

KEPT = timedelta(hours=1)
MOST = 50


@dataclass(frozen=True, slots=True)
class Papers:
    """What came of an erasure: a certificate of each call, and what stays, with its reason."""

    at: datetime
    by: str
    certificates: tuple[str, ...]
    stays: tuple[tuple[str, str], ...]


class Drawer:
    """Any thread. In memory alone, for an hour, the newest of all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Papers] = OrderedDict()

    def put(self, papers: Papers) -> str:
        """The token under which they are found again."""
        token = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[token] = papers
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return token

    def find(self, token: str, by: str, now: datetime) -> Papers | None:
        """Those of this person, if they are still there."""
        with self._lock:
            papers = self._kept.get(token)
        if papers is None or papers.by != by or now - papers.at > KEPT:
            return None
        return papers
