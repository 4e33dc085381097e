"""Requests to a running Kamailio: JSON-RPC over a Unix datagram socket (its module jsonrpcs).

Two of its answers are texts of our own, `name=value` separated by spaces, and are read here:

    GivenMessage    the last message that a worker was given before it died: its shape, not its content
                    (`route[GIVEN]` of kamailio.cfg)
    RejectedCall    a call that the edge rejected, reported once; no caller can forge it. Callers' bytes are
    in
                    hexadecimal (`route[REJECTED]` of kamailio-calls.cfg)
"""

import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal, cast, get_args

from retention.texts import Reason, WithReason
from sipagent.edge.configuration import WORKERS
from sipagent.edge.plan import Plan

METHODS = (
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "REFER",
    "NOTIFY",
    "PRACK",
    "MESSAGE",
)
STEP = 500  # sizes are counted in steps of so many bytes
MOST_MEDIA = 9  # nine media lines, or more


@dataclass(frozen=True, slots=True)
class GivenMessage:
    """A message that a worker was given.

    `call` identifies a new call at the edge, empty for any other message; `method` is a known one or
    "other"; `status` is 0 for a request; `within`: a request within a dialog; `body` and `size` (of the whole
    message) are in bytes; `media`: media lines; `source`: who sent it, IP:PORT.
    """

    call: str
    method: str
    status: int
    within: bool
    body: int
    media: int
    size: int
    source: str

    @property
    def kind(self) -> str:
        """Such as `INVITE`, `re-INVITE` or `2xx of INVITE`."""
        if self.status:
            return f"{self.status // 100}xx of {self.method}"
        return f"re-{self.method}" if self.within and self.method == "INVITE" else self.method

    @property
    def shape(self) -> tuple[str, str, str]:
        """Counted by: its kind, its media lines (`none` without a body), its size rounded up to 500."""
        media = str(min(self.media, MOST_MEDIA)) if self.body else "none"
        return self.kind, media, str(-(-self.size // STEP) * STEP)

    def __str__(self) -> str:
        media = f"media lines: {self.media}" if self.body else "no body"
        return f"{self.kind}, {media}, {self.size} bytes, from {self.source}"


def given(text: str) -> GivenMessage:
    """Read the edge's text of such a message. An unknown field is empty or 0."""
    fields = dict(part.partition("=")[::2] for part in text.split())

    def number(name: str) -> int:
        said = fields.get(name, "")
        return int(said) if said.isdecimal() and said.isascii() else 0

    method = fields.get("method", "")
    return GivenMessage(
        call=fields.get("call", ""),
        method=method if method in METHODS else "other",
        status=number("status"),
        within=fields.get("within") == "1",
        body=number("body"),
        media=number("media"),
        size=number("size"),
        source=fields.get("source", ""),
    )


Why = Literal[
    "full", "late", "rate", "draining", "malformed", "unsupported", "unanswered", "untaken", "crash", "loop"
]


@dataclass(frozen=True, slots=True)
class RejectedCall:
    """A call that no worker took, at `at` (UTC).

    `from_`, `asserted` (P-Asserted-Identity) and `privacy` are the bodies of headers as the trunk sent them,
    empty where absent; `called` is the Request-URI. `full`: no slot was free; `late`: the workers do not keep
    up with the calls that they have; `rate`: a slot was free, but too many calls came at once; `malformed`:
    no worker could have read it; `unsupported`: it asks for something not supported, or has a body that no
    engine takes; `unanswered`: no worker that got it answered; `untaken`: a slot was free, and its worker
    said that it had no room; `crash`: its INVITE was the last message that a worker was given before it
    crashed; `loop`: its Max-Forwards was used up.
    """

    at: datetime
    why: Why
    status: int
    call_id: str
    called: str
    from_: str
    asserted: str
    privacy: str


def rejected(text: str) -> RejectedCall:
    """Read what the edge says of a call. Raises ValueError for any other text."""
    fields = dict(part.partition("=")[::2] for part in text.split())
    numbers = (fields.get(name, "") for name in ("status", "s", "us"))
    if fields.get("why") not in get_args(Why) or not all(
        re.fullmatch(r"\d{1,10}", one, re.ASCII) for one in numbers
    ):
        raise ValueError(f"not what the edge says of a call: {text[:80]!r}")
    return RejectedCall(
        at=datetime.fromtimestamp(int(fields["s"]), UTC) + timedelta(microseconds=int(fields["us"])),
        why=cast(Why, fields["why"]),
        status=int(fields["status"]),
        call_id=_text(fields.get("call_id", "")),
        called=_text(fields.get("called", "")),
        from_=_text(fields.get("from", "")),
        asserted=_text(fields.get("asserted", "")),
        privacy=_text(fields.get("privacy", "")),
    )


def _text(hexadecimal: str) -> str:
    """Decode what a caller sent; Kamailio writes `<null>` for an absent header."""
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2})*", hexadecimal, re.ASCII):
        return ""
    return bytes.fromhex(hexadecimal).decode(errors="replace")


PATIENCE_S = 2.0
ANSWER_LIMIT = 1 << 20  # bytes
NOTHING_THERE = 404  # as in HTTP
ABSENT = ("not found", "htable.")  # how it ends otherwise, with 500
ANSWERED, ENDED = 3, 5  # states of a dialog (dlg_hash.h)
MALFORMED = (
    "script.malformed",
    "core.err_requests",
    "core.err_replies",
)  # the core's two count messages without a needed header
_ids = count(1)


class EdgeError(WithReason):
    """Kamailio does not start, does not answer, or refuses; `str()` is one line."""


class NothingThere(EdgeError):
    """The object asked for does not exist."""


@dataclass(frozen=True, slots=True)
class Dialog:
    """A dialog that the edge keeps, by the two numbers that name it; `cseq` is its INVITE's."""

    entry: int
    id: int
    call_id: str
    cseq: str
    answered: bool
    from_worker: bool


@dataclass(frozen=True, slots=True)
class EdgeStatistics:
    """Since the edge's start: messages of `strangers` that were dropped; calls rejected because all was
    `full`, or because too many came at once (`rate`); messages that are `malformed`, or ask for something
    `unsupported`. Now: `calls` of callers in progress.
    """

    strangers: int
    full: int
    rate: int
    malformed: int
    unsupported: int
    calls: int


class EdgeRpc:
    """Each method waits for an answer, two seconds at most, and raises EdgeError. Any thread may call."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path, self._plan = path, plan

    def activate(self, index: int) -> None:
        """Give a worker calls, and check every few seconds whether it still answers."""
        self._set(index, "ap")

    def deactivate(self, index: int) -> None:
        """Give a worker no new calls; those in progress go on."""
        self._set(index, "d")

    def _set(self, index: int, state: str) -> None:
        self.ask("dispatcher.set_state", state, WORKERS, f"sip:{self._plan.worker(index)}")

    def active(self) -> frozenset[int]:
        """List the workers that are not deactivated, including one that does not answer now."""
        sets = self.ask("dispatcher.list")["RECORDS"]
        rows = [target["DEST"] for one in sets for target in one["SET"]["TARGETS"]]
        states = {row["URI"]: row["FLAGS"] for row in rows}
        addresses = ((index, f"sip:{self._plan.worker(index)}") for index in range(self._plan.workers))
        return frozenset(index for index, uri in addresses if not states.get(uri, "D").startswith("D"))

    def reload(self) -> None:
        """Read the lists of workers and of sources again; each worker's state is that of the list."""
        self.ask("dispatcher.reload")
        self.ask("permissions.addressReload")

    def allow(self, calls: int) -> None:
        """Allow this many simultaneous callers in total."""
        self.ask("cfg.seti", "edge", "calls", calls)

    def give_way(self) -> None:
        """Say to OPTIONS that it drains: new calls are still taken."""
        self.ask("cfg.seti", "edge", "draining", 1)

    def drain(self) -> None:
        """Take no new calls, and say so to OPTIONS."""
        self.ask("cfg.seti", "edge", "draining", 2)

    def hold_off(self, late: bool) -> None:
        """Take no call beside others, since the workers do not keep up; or take them again."""
        self.ask("cfg.seti", "edge", "late", int(late))

    def worker_died(self, index: int, *, crashed: bool) -> GivenMessage | None:
        """Say why a worker died; returns what it had been given last, if anything.

        `crashed`: a message may have been the cause, so that one is given to no other worker. Call it before
        the worker's replacement takes calls.
        """
        last = self.last_given(index)
        if crashed and last and last.call:
            self.ask("htable.seti", "ended", last.call, 1)
        changed = time.monotonic_ns() // 1_000_000 % (1 << 31)  # any number but the one before
        self.ask(
            "htable.seti", "crashes" if crashed else "kills", str(self._plan.worker(index).port), changed
        )
        return last

    def last_given(self, index: int) -> GivenMessage | None:
        """The last message that a worker was given, if there was any."""
        try:
            said = self.ask("htable.get", "last", str(self._plan.worker(index).port))
        except NothingThere:
            return None
        return given(str(said["item"]["value"]))

    def dialogs(self, index: int) -> tuple[Dialog, ...]:
        """List a worker's dialogs: its callers' and its operators'."""
        worker = f"sip:{self._plan.worker(index)}"
        found = [(row, profile) for profile in ("worker", "leg") for row in self._listed(profile, worker)]
        return tuple(
            Dialog(
                entry=int(row["h_entry"]),
                id=int(row["h_id"]),
                call_id=str(row["call-id"]),
                cseq=str(row["caller"]["cseq"]),
                answered=ANSWERED <= int(row["state"]) < ENDED,
                from_worker=profile == "leg",
            )
            for row, profile in found
            if int(row["state"]) < ENDED
        )

    def _listed(self, profile: str, value: str) -> list[dict[str, Any]]:
        rows = self._ask_much("dlg.profile_list", profile, value)
        return rows if isinstance(rows, list) else [rows] if rows else []

    def end_dialogs(self, index: int) -> int:
        """End all dialogs of a dead worker; how many.

        BYE goes to both sides of calls, CANCEL to phones that ring. A call not yet answered is not among
        them: the edge passes it on to another worker.
        """
        found = [one for one in self.dialogs(index) if one.answered or one.from_worker]
        for dialog in found:
            try:
                self._end(dialog)
            except NothingThere:  # it has already ended
                continue
        return len(found)

    def _end(self, dialog: Dialog) -> None:
        if dialog.answered:
            self.ask("dlg.end_dlg", dialog.entry, dialog.id)
        else:
            self.ask("tm.cancel", dialog.call_id, dialog.cseq)

    def statistics(self) -> EdgeStatistics:
        """Read the counts."""
        said = self.ask("stats.fetchn", "script:", "core:")
        calls = self.ask("dlg.profile_get_size", "calls")
        return EdgeStatistics(
            **{name: int(said[f"script.{name}"]) for name in ("strangers", "full", "rate", "unsupported")},
            malformed=sum(int(said[name]) for name in MALFORMED),
            calls=int(calls),
        )

    def rejected(self) -> RejectedCall | None:
        """Fetch the oldest rejected call; None if there is no other."""
        try:
            said = self.ask("mqueue.fetch", "rejected")
        except NothingThere:
            return None
        try:
            return rejected(str(said["val"]))
        except (KeyError, TypeError, ValueError) as problem:
            raise EdgeError("the edge answers mqueue.fetch with {0!r:.200}", said) from problem

    def wanted(self) -> str | None:
        """Fetch the oldest word of a certificate that its folder lacks: where it lies; None if there is no
        other."""
        try:
            return str(self.ask("mqueue.fetch", "certificates")["key"])
        except NothingThere:
            return None

    def ask(self, method: str, *parameters: str | int) -> Any:
        """Call a method; its result. Raises EdgeError."""
        return self._result(method, self._said(method, {"params": parameters}))

    def _ask_much(self, method: str, *parameters: str | int) -> Any:
        """Ask, and read the answer from a file: it may not fit into a datagram."""
        path = self._path.with_name(f"{os.getpid()}.{next(_ids)}")
        try:
            self._said(method, {"params": parameters, "store_path": str(path)})
            said = json.loads(path.read_bytes())
        except (OSError, ValueError) as problem:
            raise EdgeError("the edge does not answer {0}: {1}", method, problem) from problem
        finally:
            path.unlink(missing_ok=True)
        return self._result(method, said)

    def _said(self, method: str, more: Mapping[str, object]) -> dict[str, Any]:
        question = {"jsonrpc": "2.0", "method": method, "id": next(_ids), **more}
        try:
            return _exchange(self._path, json.dumps(question).encode())
        except (OSError, ValueError) as problem:
            raise EdgeError("the edge does not answer {0}: {1}", method, problem) from problem

    @staticmethod
    def _result(method: str, said: Mapping[str, Any]) -> Any:
        if "error" in said:
            code, message = said["error"].get("code"), str(said["error"].get("message"))
            kind = NothingThere if code == NOTHING_THERE or message.endswith(ABSENT) else EdgeError
            raise kind(Reason("the edge refuses {0}: {1}", method, message))
        return said.get("result")


def _exchange(path: Path, question: bytes) -> dict[str, Any]:
    """Raises OSError, including TimeoutError, and ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_S)
        asking.bind("")  # an abstract address of the kernel's choice (unix(7)): nothing to clean up
        asking.connect(str(path))
        asking.send(question)
        said: dict[str, Any] = json.loads(asking.recv(ANSWER_LIMIT))
    return said
