"""What the edge rejected: a receipt for each call, many in one transaction, in nobody's way."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.records import Ids, due_date
from retention.rows.chain import ChainHead
from retention.rows.counts import RECEIPTS_AN_HOUR, RECEIPTS_AT_ONCE
from retention.sqlite import Store
from retention.verify import verify
from sipagent.edge.rpc import RejectedCall, Why
from sipagent.service.edge import ENDING, Rejections, receipt_of
from tests import kept
from tests.driving import CALLER, NUMBER, RULES
from tests.kept import START
from tests.tapping import PATIENCE_S, wait_for


def call(number: int = 0, why: Why = "full", **changes: str) -> RejectedCall:
    fields = {
        "call_id": f"call{number}@192.0.2.7",
        "called": f"sip:{NUMBER}@203.0.113.5",
        "from_": f'"Anna" <sip:{CALLER}@trunk.example.net>;tag=7',
        "asserted": "",
        "privacy": "",
    }
    at = START + timedelta(milliseconds=5 * number)
    return RejectedCall(at=at, why=why, status=503, **(fields | changes))


def with_field(field: str, text: str) -> RejectedCall:
    changes: dict[str, Any] = {field: text}
    return replace(call(), **changes)


@contextmanager
def running(folder: Path, alerts: list[str]) -> Iterator[Rejections]:
    rejections = Rejections(lambda: Store(folder / "retention.db"), RULES, alerts.append)
    rejections.start()
    try:
        yield rejections
    finally:
        rejections.stop()


# --- one ---


def test_its_receipt_says_who_called_whom_and_what_was_answered() -> None:
    receipt = receipt_of(call(), Ids(), RULES)
    assert (receipt.caller, receipt.called, receipt.call_id) == (CALLER, NUMBER, "call0@192.0.2.7")
    assert (receipt.outcome, receipt.decision, receipt.decided_by) == ("rejected", "undecided", "sip")
    assert receipt.started_at == receipt.ended_at == START
    assert receipt.expires_at == due_date(START, RULES.receipts_period)
    assert [(event.what, event.by) for event in receipt.events] == [("rejected with 503", "edge: full")]
    assert (receipt.recording_id, receipt.operator) == (None, None)


def test_who_asks_for_privacy_or_is_vouched_for_by_the_trunk() -> None:
    assert receipt_of(call(privacy="id"), Ids(), RULES).caller is None
    asserted = receipt_of(call(asserted="<tel:+33323060606>"), Ids(), RULES)
    assert asserted.caller == "+33323060606"


FORGED = (
    *("x\r\nPrivacy: id", "x\nP-Asserted-Identity: <tel:+33323999999>", "x\r\n\r\nx"),
    *("\x00\x1b[31m", "<" * 5000, "\ud7ff"),
)


@pytest.mark.parametrize("field", ["call_id", "called"])
@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_no_field_forges_a_header(field: str, text: str) -> None:
    receipt = receipt_of(with_field(field, text), Ids(), RULES)
    assert (receipt.outcome, receipt.caller) == ("rejected", CALLER)


@pytest.mark.parametrize("field", ["call_id", "called", "from_", "asserted", "privacy"])
@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_nonsense_keeps_no_call_from_its_receipt(tmp_path: Path, field: str, text: str) -> None:
    with Store(tmp_path / "retention.db") as store:
        store.add_receipt(receipt_of(with_field(field, text), Ids(), RULES))
        assert len(store.receipts()) == 1


# --- many ---


def test_each_has_its_receipt_and_the_chain_holds(tmp_path: Path, alerts: list[str]) -> None:
    """Also those that come in one millisecond; some are still waiting when it ends."""
    count = 2 * RECEIPTS_AT_ONCE + 50
    with running(tmp_path, alerts) as rejections:
        for number in range(count):
            rejections.add(call(number // 9))
    archive = kept.archive(tmp_path)
    receipts = archive.store.receipts()
    assert len(receipts) == len({receipt.id for receipt in receipts}) == count
    assert archive.store.open_receipts() == [] and archive.store.in_progress() == {}
    found = verify(archive)
    assert (found.problems, found.lost, alerts) == ([], [], [])
    assert rejections.figures().ended == {ENDING: count}
    archive.store.close()


def test_many_are_one_transaction(tmp_path: Path, alerts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    export = Store._export

    def exported(store: Store, head: ChainHead) -> None:
        commits.append(1)
        export(store, head)

    kept.archive(tmp_path).store.close()
    monkeypatch.setattr(Store, "_export", exported)
    rejections = Rejections(lambda: Store(tmp_path / "retention.db"), RULES, alerts.append)
    for number in range(RECEIPTS_AT_ONCE):
        rejections.add(call(number))
    rejections.start()
    rejections.stop()
    assert len(commits) == 1


def test_nothing_is_opened_or_counted_where_nothing_was_rejected(tmp_path: Path, alerts: list[str]) -> None:
    with running(tmp_path, alerts) as rejections:
        assert rejections.figures().ended == {}
    assert list(tmp_path.iterdir()) == []


def test_what_the_database_does_not_take_is_tried_again_and_told_once(
    tmp_path: Path, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.archive(tmp_path).store.close()
    monkeypatch.setattr("retention.sqlite.BUSY_S", 0.05)
    monkeypatch.setattr("sipagent.service.edge.PAUSE_S", 0.02)
    with closing(sqlite3.connect(tmp_path / "retention.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with running(tmp_path, alerts) as rejections:
            rejections.add(call())
            wait_for(lambda: alerts != [])
            rejections.add(call(1))
            threading.Event().wait(0.3)  # some attempts
            monkeypatch.setattr("retention.sqlite.BUSY_S", PATIENCE_S)
            other.execute("ROLLBACK")
            with Store(tmp_path / "retention.db") as store:
                wait_for(lambda: len(store.receipts()) == 2)
    assert len(alerts) == 1 and "database is locked; they are tried again" in alerts[0]


def test_the_receipts_to_come_follow_the_configuration(tmp_path: Path, alerts: list[str]) -> None:
    rejections = Rejections(lambda: Store(tmp_path / "retention.db"), RULES, alerts.append)
    rejections.reload(replace(RULES, receipts_period="3 months"))
    rejections.add(call())
    rejections.start()
    rejections.stop()
    with Store(tmp_path / "retention.db") as store:
        (receipt,) = store.receipts()
    assert receipt.expires_at == due_date(START, "3 months")


# --- a flood ---


def test_a_flood_leaves_a_thousand_receipts_an_hour_and_sums(tmp_path: Path, alerts: list[str]) -> None:
    """As a trunk that loops: nothing is lost of the count, and next to nothing is written."""
    with running(tmp_path, alerts) as rejections:
        for number in range(RECEIPTS_AN_HOUR + 4000):
            rejections.add(call(number // 100, why="rate" if number % 4 else "full"))
    archive = kept.archive(tmp_path)
    assert len(archive.store.receipts()) == RECEIPTS_AN_HOUR
    sums = {one.by: one for one in archive.store.each_sum()}
    assert {by: one.count for by, one in sums.items()} == {"edge: full": 1000, "edge: rate": 3000}
    assert all((one.what, one.code) == ("rejected", 503) for one in sums.values())
    assert rejections.figures().ended == {ENDING: RECEIPTS_AN_HOUR + 4000}
    assert (verify(archive).problems, alerts) == ([], [])
    archive.store.close()


def test_what_beyond_the_thousand_is_not_even_read(tmp_path: Path, alerts: list[str]) -> None:
    """Whatever a flood says, it takes no time and no memory."""
    rejections = Rejections(lambda: Store(tmp_path / "retention.db"), RULES, alerts.append)
    for _ in range(RECEIPTS_AN_HOUR + 50_000):
        rejections.add(call())
    assert rejections._come.qsize() == RECEIPTS_AN_HOUR
    assert sum(one.count for one in rejections._kept.all()) == 50_000


def test_what_could_not_be_written_by_the_end_is_told(tmp_path: Path, alerts: list[str]) -> None:
    kept.archive(tmp_path).store.close()
    with closing(sqlite3.connect(tmp_path / "retention.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.MonkeyPatch.context() as patch, running(tmp_path, alerts) as rejections:
            patch.setattr("retention.sqlite.BUSY_S", 0.05)
            rejections.add(call())
        other.execute("ROLLBACK")
    assert alerts[-1] == "1 rejected calls could not be written down"
