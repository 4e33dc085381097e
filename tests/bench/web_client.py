"""Somebody who asks the page, without a browser: one connection that stays, and how long each answer took."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

TIMEOUT_S = 30.0
IDLE_S = 4.0  # after which a connection may be closed by the other end, and is not used again


class AskingError(Exception):
    """The page answered something else than what is measured."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `ms` from the first byte of the request to the last one of the answer."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]  # `NAME=VALUE`, as they are set
    body: bytes
    ms: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks one thing after the other, as `headers` say who it is. Raises AskingError, OSError."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self.headers = dict(headers)
        self._asked = 0.0

    def get(self, path: str, query: Mapping[str, str] | None = None, *, accepted: int = 200) -> Answer:
        """The answer to GET."""
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None, {}, accepted)

    def post(self, path: str, fields: Mapping[str, Any], *, accepted: int = 200) -> Answer:
        """The answer to POST of JSON."""
        kind = {"Content-Type": "application/json"}
        return self._ask("POST", path, json.dumps(fields).encode(), kind, accepted)

    def form(self, path: str, fields: Mapping[str, str], *, accepted: int = 303) -> Answer:
        """The answer to a form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode(fields).encode(), kind, accepted)

    def close(self) -> None:
        self._connection.close()

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], accepted: int
    ) -> Answer:
        if time.perf_counter() - self._asked > IDLE_S:
            self._connection.close()
        began = self._asked = time.perf_counter()
        self._connection.request(method, path, body, {**self.headers, **headers})
        found = self._connection.getresponse()
        content = found.read()
        ms = (time.perf_counter() - began) * 1e3
        if found.status != accepted:
            raise AskingError(f"{method} {path}: {found.status} {content[:500].decode(errors='replace')}")
        headers = {name.lower(): value for name, value in found.getheaders()}
        cookies = tuple(one.partition(";")[0] for one in found.headers.get_all("Set-Cookie", []))
        return Answer(found.status, headers, cookies, content, ms)
