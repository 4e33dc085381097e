"""What must hold once all is settled. Pure: what the callers know, what is kept, what was asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from retention.records import from_text
from tests.cluster.phones import Attempt, Told
from tests.cluster.searching import Found
from tests.peers.agent import Json

MS = 1_000_000
SECOND = 1_000 * MS
ACKED_NS = SECOND // 2
HEARD_S = 1.0  # who has talked for so long is heard in what is kept
LEAST_S = 0.3  # and who is in a file that is whole; not who had left before, by a BYE that a fault has lost
UNDERSTOOD_NS = 1 * SECOND  # a key that was pressed so long before anything happened to its host counts


@dataclass(slots=True)
class Known:
    """What is known of a call across rounds: its caller's number and the id of its receipt."""

    number: int
    id: str
    refused: bool
    recorded: bool
    talked_s: float = 0.0  # with an operator, until the end or until anything happened to the host
    held: bool = False
    deleted: bool = False
    purged: bool = False


@dataclass(slots=True)
class Harm:
    """When anything happened to a host, all of it or a process; monotonic, ns."""

    host: str
    from_ns: int
    to_ns: int


def receipts_of(
    told: Sequence[Told], receipts: Sequence[Json], harms: Sequence[Harm] = ()
) -> tuple[list[Known], list[str]]:
    """The calls that have a receipt each, and what is wrong with the number of these.

    A call whose host is hit before it has the caller's ACK is none yet.
    """
    by_call = Counter(row["call_id"] for row in receipts)
    of_call = {row["call_id"]: row for row in receipts}
    known: list[Known] = []
    wrong: list[str] = []
    for one in told:
        for attempt in one.attempts:
            count = by_call[attempt.call_id]
            certain = attempt.status == 200 and not _hit_at_once(attempt, one.answered_ns, harms)
            if count > 1 or (certain and count < 1):
                wrong.append(
                    f"caller {one.call.number}, answered {attempt.status} by {attempt.host}:"
                    f" {count} receipts of {attempt.call_id}"
                )
        answered = one.answered
        row = of_call.get(answered.call_id) if answered else None
        if row is not None:
            if row["ended_at"] is None:
                wrong.append(f"caller {one.call.number}: the receipt {row['id']} is not complete")
            known.append(
                Known(
                    one.call.number,
                    row["id"],
                    refused=row["decision"] == "refused",
                    recorded=row["recording_id"] is not None,
                    talked_s=_talked_s(one, row, harms),
                )
            )
    return known, wrong


def _talked_s(one: Told, row: Json, harms: Sequence[Harm]) -> float:
    if one.answered is None or one.answered_ns is None or row["connected_at"] is None:
        return 0.0
    ends = [harm.from_ns for harm in harms if harm.host == one.answered.host and harm.to_ns > one.answered_ns]
    over = min([*ends, one.ended_ns or time.monotonic_ns()])
    waited = from_text(row["connected_at"]) - from_text(row["answered_at"])
    return (over - one.answered_ns) / SECOND - waited.total_seconds()


def _hit_at_once(attempt: Attempt, answered_ns: int | None, harms: Sequence[Harm]) -> bool:
    answered = answered_ns or 0
    return any(
        harm.host == attempt.host and harm.from_ns < answered + ACKED_NS and harm.to_ns > answered
        for harm in harms
    )


def refusals(told: Sequence[Told], known: Iterable[Known], harms: Sequence[Harm]) -> list[str]:
    """Who pressed the key in time, on a host to which nothing happened then, and isn't told as refused."""
    of_number = {one.number: one for one in known}
    wrong = []
    for one in told:
        answered, row = one.answered, of_number.get(one.call.number)
        if answered is None or one.pressed_ns is None or row is None:
            continue
        over = one.ended_ns or one.pressed_ns
        harmed = any(
            harm.host == answered.host
            and harm.from_ns < one.pressed_ns + UNDERSTOOD_NS
            and harm.to_ns > (one.answered_ns or 0)
            for harm in harms
        )
        if not harmed and over - one.pressed_ns > 300 * MS and not row.refused:
            wrong.append(f"caller {one.call.number} refused, and the receipt {row.id} says otherwise")
    return wrong


@dataclass(slots=True)
class Kept:
    """The recordings' rows by id, and what was found in all stores."""

    recordings: Mapping[str, Json]
    found: Found
    wrong: list[str] = field(default_factory=list)


def stores(known: Iterable[Known], kept: Kept) -> list[str]:
    """What lies where it must not, and what is missing."""
    wrong: list[str] = [f"sound in clear: {where}" for where in kept.found.in_clear]
    of_number = {one.number: one for one in known}
    for where, id, speakers in kept.found.heard:
        for who in speakers:
            one = of_number.get(who)
            if one is not None and (one.refused or one.deleted or one.purged):
                why = "refused" if one.refused else "deleted" if one.deleted else "purged"
                wrong.append(f"caller {who}, {why}, can be heard in {where}")
            elif one is not None and id and one.id != id:
                wrong.append(f"caller {who} of {one.id} can be heard in {where}")
    for one in of_number.values():
        gone = one.refused or one.deleted or one.purged
        if gone and one.id in kept.found.keys:
            wrong.append(f"caller {one.number}: the key of {one.id} is still there")
        if gone and one.id in kept.found.sealed:
            wrong.append(f"caller {one.number}: sealed sound of {one.id} is still there")
        row = kept.recordings.get(one.id)
        if row is None or gone:
            continue
        heard = kept.found.of(one.id).get(one.number, 0)
        if one.recorded and one.talked_s > HEARD_S and not heard:
            wrong.append(f"{one.id} of caller {one.number}, who talked {one.talked_s:.1f} s: {row['status']}")
        if one.held and (row["status"] != "closed" or not heard):
            wrong.append(f"held {one.id} of caller {one.number}: {row['status']}, heard for {heard * 10} ms")
        if (
            row["status"] == "closed"
            and not row["incomplete"]
            and (row["duration_s"] or 0) > LEAST_S
            and one.talked_s > LEAST_S
            and not heard
        ):
            wrong.append(f"{one.id} of caller {one.number} is closed, and nothing can be heard")
        if row["status"] in ("open", "purging"):
            wrong.append(f"{one.id} of caller {one.number} is left {row['status']}")
    return wrong


def operators(spans: Mapping[str, Sequence[tuple[int, int]]]) -> list[str]:
    """Phones that were in two calls at once; begin and end of each, ns."""
    wrong = []
    for name, calls in spans.items():
        ordered = sorted(calls)
        for (_, ended), (began, _) in pairwise(ordered):
            if began < ended:
                wrong.append(f"{name} was in two calls for {(ended - began) / SECOND:.2f} s")
    return wrong


def rung(at: Iterable[int], away: Sequence[tuple[int, int]]) -> list[str]:
    """Phones in a call that were rung for another, though nothing kept the hosts from knowing: when, and when
    something did; ns."""
    count = sum(not any(begins <= one <= ends for begins, ends in away) for one in at)
    return [f"{count} times a phone in a call was rung for another"] if count else []


def unnamed(
    versions: Iterable[tuple[str, str]], objects: Iterable[tuple[str, str | None]], bundles: Iterable[str]
) -> list[str]:
    """Versions in the store that no row names; `objects`: name and version in each row, None where a put has
    no answer, which is then looked for by its name; `bundles`: names of the objects with keys of rows."""
    rows = [*objects]
    known = {(name, version) for name, version in rows if version is not None}
    by_name = {name for name, version in rows if version is None} | {*bundles}
    return [
        f"no row names {name} {version}"
        for name, version in versions
        if name not in by_name and (name, version) not in known
    ]
