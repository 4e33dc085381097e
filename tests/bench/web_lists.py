"""How long a list of 50 takes out of a million, from the request to the last byte of the answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from retention.records import Recording, reference_of
from retention.rows.selection import Selection
from retention.sqlite import Store
from sipagent.config.load import Config
from sipagent.lookup.parsing import selection
from tests.bench.report import Row
from tests.bench.web_client import Answer, AskingError, Client
from tests.bench.web_kept import (
    FLAGGED_OF,
    HELD_OF,
    HUNDREDTH,
    OFTEN,
    OFTEN_OF,
    OPERATOR,
    OPERATORS,
    PAGE,
    RARE_OF,
    RARE_OPERATOR,
    TRIES,
    Wanted,
)
from tests.office import PARIS

LIST_MS = 50.0
LISTED, SEEN = "/api/v1/recordings", "/recordings"
Fields = dict[str, str]
_LINK = re.compile(rb'href="/recordings/([^"/?]+)"')


@dataclass(frozen=True, slots=True)
class Query:
    """One kind of list: what is asked in each of the tries, and how many rows it must find at least."""

    name: str
    fields: Callable[[int, Recording], Fields]
    found: int
    limit: float | None = LIST_MS
    tries: int = TRIES


def _day(call: Recording) -> Fields:
    day = f"{call.started_at.astimezone(PARIS):%Y-%m-%d}"
    return {"since": day, "until": day}


def queries(wanted: Wanted) -> list[Query]:
    """All of them."""
    rare, flagged, held = (wanted.rows // of for of in (RARE_OF, FLAGGED_OF, HELD_OF))
    behind = wanted.rows - (HUNDREDTH + TRIES - 1) * PAGE
    return [
        Query("the newest", lambda _, call: {}, min(PAGE, wanted.rows)),
        Query("of a day", lambda _, call: _day(call), 1),
        Query("of a number that called once", lambda _, call: {"caller": call.caller or ""}, 1),
        Query(
            "of a number that calls often",
            lambda _, call: {"caller": OFTEN},
            min(PAGE, wanted.rows // OFTEN_OF),
        ),
        Query("of the end of a number", lambda _, call: {"caller": (call.caller or "")[-4:]}, 1, None, 10),
        Query("by reference", lambda _, call: {"reference": reference_of(call.id)}, 1),
        Query(
            f"of one operator of {OPERATORS}",
            lambda _, call: {"operator": OPERATOR},
            min(PAGE, wanted.rows // (2 * OPERATORS)),
        ),
        Query(
            f"of an operator with {rare} calls", lambda _, call: {"operator": RARE_OPERATOR}, min(PAGE, rare)
        ),
        Query(f"flagged, {flagged} of them", lambda _, call: {"flagged": "true"}, min(PAGE, flagged)),
        Query(f"held, {held} of them", lambda _, call: {"held": "true"}, min(PAGE, held)),
        Query(
            "the hundredth page", lambda turn, call: {"after": wanted.deep[turn]}, max(0, min(PAGE, behind))
        ),
    ]


def p95(name: str, values: list[float], limit: float | None) -> Row:
    """Of many, the 95th percentile, which is what is to be reached."""
    return Row(f"{name}, p95", float(np.percentile(values, 95)), limit, "ms", count=len(values))


def of_interface(client: Client, fields: Fields) -> Answer:
    """One list as programs ask for it. Raises AskingError."""
    if "caller" in fields:
        return client.post(f"{LISTED}/search", {"limit": PAGE, **fields})
    return client.get(LISTED, {"limit": str(PAGE), **fields})


def of_pages(client: Client, csrf: str, fields: Fields) -> Answer:
    """One list as people see it. Raises AskingError."""
    if "caller" in fields:
        return client.form(SEEN, {"csrf": csrf, **fields}, accepted=200)
    return client.get(SEEN, fields)


def in_library(store: Store, wanted: Wanted, config: Config) -> list[Row]:
    """Every kind of list, as the library gives it."""
    rows = []
    for query in queries(wanted):
        spent = []
        for turn, call in enumerate(wanted.calls[: query.tries]):
            chosen = selection_of(query.fields(turn, call), config)
            began = time.perf_counter()
            found = len(store.recordings(chosen))
            spent.append((time.perf_counter() - began) * 1e3)
            _check(query, found)
        rows.append(p95(f"in the library: {query.name}", spent, None))
    return rows


def selection_of(fields: Fields, config: Config) -> Selection:
    """What the page and the interface ask the library for."""
    flags = {name: name in fields for name in ("flagged", "held")}
    typed = {name: text for name, text in fields.items() if name not in flags}
    return selection(config, datetime.now(UTC), limit=PAGE, **typed, **flags)  # type: ignore[arg-type]


def _check(query: Query, found: int) -> None:
    """Raises AskingError."""
    if found < query.found:
        raise AskingError(f"{query.name}: {found} rows; expected: {query.found}")


def rows_in(answer: Answer) -> int:
    """How many recordings an answer lists."""
    if answer.headers["content-type"].startswith("application/json"):
        return len(answer.json)
    return len(set(_LINK.findall(answer.body)))


def timed(
    who: str, ask: Callable[[Fields], Answer], wanted: Wanted, spent_s: Callable[[], float]
) -> list[Row]:
    """Every kind of list, one after the other, and the CPU of the dearest; `spent_s`: that of the page."""
    rows, costs = [], {}
    for query in queries(wanted):
        spent, before = [], spent_s()
        for turn, call in enumerate(wanted.calls[: query.tries]):
            answer = ask(query.fields(turn, call))
            _check(query, rows_in(answer))
            spent.append(answer.ms)
        rows.append(p95(f"{who}: {query.name}", spent, query.limit))
        if query.limit is not None:
            costs[query.name] = (spent_s() - before) / len(spent)
    dearest = max(costs, key=costs.__getitem__)
    return [*rows, Row(f"{who}: CPU of one, {dearest}", costs[dearest] * 1e3, None, "ms", count=TRIES)]
