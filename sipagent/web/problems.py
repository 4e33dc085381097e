"""What goes wrong, as the handlers of addresses raise it; the guard says it to who asked."""

import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

KIND = "application/problem+json"
"""As programs are told (RFC 9457)."""


class Problem(Exception):
    """An answer other than what was asked for; `detail` is one English line, of `retention` or a
    `Reason`; `more` are fields beside it."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def to_json(self, detail: str) -> dict[str, Any]:
        """As programs are told; `detail` is one line, in their language."""
        told = {"type": "about:blank", "title": self.status.phrase, "status": int(self.status)}
        return told | {"detail": detail, **self.more}


def unforeseen(error: BaseException) -> dict[str, str]:
    """What the log says of an error that nobody foresaw: its kind and where, nothing that was sent."""
    found = traceback.extract_tb(error.__traceback__)
    where = f"{found[-1].filename}:{found[-1].lineno}" if found else ""
    return {"kind": type(error).__name__, "where": where}
