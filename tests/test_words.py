"""Persons are found by hashes whose keys go; where they have gone, rows are opened."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.postgres.store import SealedStore, first_of, hash_of, period_of, span_of, user_part, words_for
from retention.records import Recording, to_text
from retention.rows.selection import Selection
from retention.sqlite import Store
from tests.kept import CALLER, OPERATOR, START, receipt, recording
from tests.postgres import Server, fresh
from tests.sealed import WatchedBlobs, ask, keys_in, run, sealed_store, tables

OTHER = "+33698765432"
SHORT = "0612"  # as some trunks tell of internal calls


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    with fresh(postgres, tables) as conninfo:
        yield conninfo


@pytest.fixture
def store(database: str, tmp_path: Path) -> Iterator[SealedStore]:
    with sealed_store(database, tmp_path / "vault", host="a") as store:
        yield store


def days_of_calls() -> list[Recording]:
    """Calls of several days, callers and operators."""
    chosen = random.Random(5)
    callers = [CALLER, OTHER, "+3361234", "+33712345678", "+33145678", SHORT, "anonymous", None]
    operators = [OPERATOR, "sip:anna@b", "sips:anna@other", "anna", "sip:b", None]
    rows = [
        recording(37 * number, caller=chosen.choice(callers), operator=chosen.choice(operators))
        for number in range(150)
    ]
    for number, row in enumerate(rows):  # some were given to the last operator by others
        if number % 7 == 0 and row.operator:
            rows[number] = replace(row, operators=("sip:anna@b", "sip:max@b", row.operator))
    return rows


SELECTIONS = [
    *(Selection(number=number) for number in (CALLER, SHORT, "+33999999999")),
    *(
        Selection(caller=(form, form.replace("+33", "0").lstrip("+")))
        for form in ("+5678", "+33612", "+336", "+78")
    ),
    Selection(caller=("+3361234567",)),
    *(
        Selection(operator=operator)
        for operator in ("anna", "sip:anna@b", OPERATOR, "marie.durand", "sip:b", "max", "nobody")
    ),
    Selection(operator="sip:max@b", limit=3),
    Selection(number=CALLER, operator="anna"),
    Selection(number=CALLER, limit=3),
    Selection(operator="anna", since=START + timedelta(days=1), until=START + timedelta(days=2)),
    Selection(number=CALLER, since=START + timedelta(hours=30)),
    Selection(caller=("+5678", "5678"), until=START + timedelta(hours=30), limit=2),
    Selection(number=CALLER, decision="allowed", outcome="connected"),
]


def test_both_databases_find_the_same(store: SealedStore) -> None:
    plain = Store(":memory:")
    calls = days_of_calls()
    with store.write(), plain.write():
        for of in calls:
            for one in (store, plain):
                one.add_recording(of)
                one.add_receipt(receipt(of))

    def compare() -> None:
        for selection in SELECTIONS:
            assert store.recordings(replace(selection, outcome=None)) == plain.recordings(
                replace(selection, outcome=None)
            ), selection
            assert store.receipts(selection) == plain.receipts(selection), selection
            page = store.receipts(replace(selection, limit=1))
            if page:
                rest = replace(selection, after=page[0].id, limit=None)
                assert store.receipts(rest) == plain.receipts(rest), selection

    compare()
    gone = [calls[number] for number in (20, 21, 90)]
    for of in gone:
        for one in (store, plain):
            one.update_receipt(receipt(of).anonymous())
    dark = ask_periods(store)
    assert 1 <= len(dark) <= 3
    compare()
    for one in (store, plain):
        one.add_receipt(receipt(recording(37 * 20 + 1, caller=CALLER, id="20261125T120000000-123456")))
    compare()
    rest_a_day(store)
    assert store.renew_words() > 20 and ask_periods(store) == []
    compare()
    assert store.renew_words() == 0 and store.keys_left() == 0


def ask_periods(store: SealedStore) -> list[str]:
    return [row["period"] for row in store._read("SELECT period FROM search_keys WHERE NOT whole", [])]


def rest_a_day(store: SealedStore) -> None:
    with store.write():
        store._ledger.tables.execute("UPDATE search_keys SET since = since - interval '2 days'")


def test_a_hash_cannot_be_tried_once_anybody_of_its_period_is_forgotten(
    store: SealedStore, database: str, tmp_path: Path
) -> None:
    """Else whoever has a copy of the database and the vault tries ten thousand million numbers in an hour."""
    of, neighbour = receipt(recording()), receipt(recording(5, caller=OTHER))
    store.add_receipt(of)
    store.add_receipt(neighbour)
    before = {row["id"]: row for row in ask(database, "SELECT * FROM receipts")}[of.id]
    hashed = {name: before[name] for name in ("number_hash", "start_hash", "end_hash", "operator_hash")}

    def tried() -> set[str]:
        words = {"number_hash": CALLER, "start_hash": "+3361", "end_hash": "5678"}
        words["operator_hash"] = "marie.durand"
        there = keys_in(tmp_path / "vault").values()
        return {name for name in hashed for key in there if hash_of(key, name, words[name]) == hashed[name]}

    assert tried() == set(hashed)
    store.update_receipt(of.anonymous())
    assert tried() == set()
    assert store.receipts(Selection(number=OTHER)) == [neighbour]
    rest_a_day(store)
    assert store.renew_words() == 1
    assert tried() == set()
    assert store.receipts(Selection(number=OTHER)) == [neighbour]


def test_the_last_row_of_a_period_takes_its_key_with_it(
    store: SealedStore, database: str, tmp_path: Path
) -> None:
    for minutes in (0, 5):
        store.add_receipt(receipt(recording(minutes)))
    first, last = store.receipts()
    store.update_receipt(replace(first, caller=None))  # a number that is lost alone ends it, too
    assert len(ask_periods(store)) == 1 and store.keys_left() == 0
    for of in (store.receipt(first.id), last):
        store.update_receipt(of.anonymous())
    assert store.keys_left() == 0
    assert not any("search" in name for name in keys_in(tmp_path / "vault"))
    late = receipt(recording(1))
    store.add_receipt(late)  # while the period is without a key
    assert store.receipts(Selection(number=CALLER)) == [late]
    rest_a_day(store)
    store.renew_words()
    assert ask_periods(store) == [] and store.receipts(Selection(number=CALLER)) == [late]
    store.update_receipt(late.anonymous())
    rest_a_day(store)
    store.renew_words()
    assert ask(database, "SELECT * FROM search_keys") == [] and store.keys_left() == 0


def test_a_batch_of_rows_makes_one_revision_and_a_search_key_now_and_then(
    database: str, tmp_path: Path
) -> None:
    blobs = WatchedBlobs(tmp_path / "vault")
    with sealed_store(database, blobs, host="a") as store:
        for batch in range(3):
            blobs.steps.clear()
            store.expect(200)
            with store.write():
                for number in range(100):
                    of = recording(batch * 100 + number // 10, worker=number % 10)
                    store.add_recording(of)
                    store.add_receipt(receipt(of))
            puts = [name for step, name in blobs.steps if step == "put"]
            assert len([name for name in puts if "search" not in name]) == 1 and len(puts) <= 2


# --- words ---


@given(after=st.timedeltas(timedelta(0), timedelta(900)))
def test_a_time_is_in_its_period(after: timedelta) -> None:
    text = to_text(START + after)
    span = span_of(period_of(text))
    assert span.since <= text < span.until


@given(
    drawn=st.from_regex(r"\+?[0-9a-z]{1,14}", fullmatch=True),
    form=st.from_regex(r"\+?[0-9]{1,8}", fullmatch=True),
)
def test_what_a_form_means_is_found_by_its_words(drawn: str, form: str) -> None:
    words = words_for(form)
    for number in (drawn, form + drawn.lstrip("+"), drawn + form.lstrip("+"), form):
        if words is not None and (number.startswith(form) or number.endswith(form)):
            there = {"start_hash": first_of(number), "end_hash": number[-4:]}
            assert any(there[name] == word for name, word in words.items())


def test_the_user_part_of_an_address_and_its_hashes() -> None:
    for address, user in (
        *(("sip:anna@b", "anna"), ("sips:anna@b:5061", "anna"), ("sip:b", "sip:b")),
        *(("anna", "anna"), ("", ""), ("a@b", "a@b")),
    ):
        assert user_part(address) == user
    names = ("number_hash", "start_hash", "end_hash")
    hashes = {hash_of(key, name, "5678") for name in names for key in (b"k" * 32, b"l" * 32)}
    assert len(hashes) == 6  # one word differs by what it is, and by its key


def test_rows_of_before_are_not_searched_with_keys_of_another_time(store: SealedStore, database: str) -> None:
    """A search key that was lost is no reason to miss a call."""
    of = receipt(recording())
    store.add_receipt(of)
    run(database, "UPDATE key_bundles SET revision = 999, last = 999 WHERE host = 'a-search'")
    store.keys._remembered.clear()
    assert store.receipts(Selection(number=CALLER)) == [of]
