"""What leads to a person is sealed before it leaves this process, and opens only for its own row."""

import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retention.postgres.connection import put_in, taken_out
from retention.postgres.schema import SEALED
from retention.postgres.store import SealedStore, sealed, unsealed
from retention.records import Access, Approval, Event, Note, RecordError, due_date
from retention.rows.rows import DamagedRow, StoreError
from tests.kept import CALLER, OPERATOR, START, receipt, recording
from tests.postgres import Server, fresh
from tests.sealed import ask, keys_in, opens, run, sealed_store, tables

TABLES_OF_DATABASE = tables

KEY = b"k" * 32
HOLD = {
    "ground": "criminal",
    "reference": "PV 2026/1789",
    "by": "j.moreau",
    "approved_by": "c.blanc",
    "review": "2027-05-31",
}
# also halves of surrogate pairs, NUL and whatever no database takes
TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)


@pytest.fixture
def store(database: str, tmp_path: Path) -> Iterator[SealedStore]:
    with sealed_store(database, tmp_path / "vault", host="a") as store:
        yield store


def kept(conninfo: str, table: str) -> list[dict[str, Any]]:
    return ask(conninfo, f"SELECT * FROM {table} ORDER BY id")


@given(columns=st.dictionaries(st.sampled_from(SEALED["receipts"]), st.none() | TEXTS))
def test_any_text_comes_back_as_it_went_in(columns: dict[str, str | None]) -> None:
    box = sealed(KEY, "receipts", "20261127T100000000-000001", columns)
    assert unsealed(KEY, "receipts", "20261127T100000000-000001", box) == columns


@given(text=TEXTS)
def test_a_box_shows_nothing_but_its_length_about(text: str) -> None:
    box = sealed(KEY, "notes", 1, {"text": text})
    assert (len(box) - 40) % 64 == 0
    assert not text.strip() or len(text) < 3 or text.encode(errors="surrogatepass") not in box


@pytest.mark.parametrize(
    ("table", "id", "key"), [("receipts", "b", KEY), ("recordings", "a", KEY), ("receipts", "a", b"l" * 32)]
)
def test_a_box_opens_for_its_own_row_and_key(table: str, id: str, key: bytes) -> None:
    box = sealed(KEY, "receipts", "a", {"caller": CALLER})
    with pytest.raises(RecordError, match="sealed: not readable"):
        unsealed(key, table, id, box)


@given(at=st.integers(0, 103), bit=st.integers(0, 7))
def test_a_box_that_was_altered_does_not_open(at: int, bit: int) -> None:
    box = bytearray(sealed(KEY, "receipts", "a", {"caller": CALLER}))
    assert len(box) == 104
    box[at] ^= 1 << bit
    with pytest.raises(RecordError):
        unsealed(KEY, "receipts", "a", bytes(box))


NAMES = """paul.petit; tout va bien; opposition-mot; PV 2026/1789; j.moreau; c.blanc; Claire Blanc; cblanc;
    DOSSIER-77; clef-usb; claire.b; Jean Noël; Menace répétée; luc.roy; REF-42; plainte;
    eva.le-goff; entendu"""


def everything(store: SealedStore) -> list[str]:
    """One row of each kind with all that leads to a person; the texts of that."""
    of, at = recording(hold=None), START
    told = (
        Event(at=at, what="dialled sip:paul.petit@pbx.example.net", by="caller"),
        Event(at=at, what="said on the phone: tout va bien"),
    )
    store.add_receipt(receipt(of, keyword="opposition-mot", events=told))
    store.add_recording(of)
    store.update_recording(replace(of, hold=HOLD))
    use = Access(at=at, action="play", recording_id=of.id, by="Claire Blanc", system_user="cblanc")
    store.add_access(replace(use, reference="DOSSIER-77", detail="copied to clef-usb", login="claire.b"))
    expires = due_date(at, "1 year")
    store.add_note(Note(recording_id=of.id, at=at, by="Jean Noël", text="Menace répétée", expires_at=expires))
    asked = Approval(at=at, action="hold", recording_id=of.id, by="luc.roy", reference="REF-42")
    kept = store.add_approval(replace(asked, reason="plainte"))
    decided = replace(kept, state="approved", decided_by="eva.le-goff", decided_at=at, answer="entendu")
    store.update_approval(decided)
    names = [" ".join(one.split()) for one in NAMES.split(";")]
    return [CALLER, OPERATOR, "marie.durand", "a84b4c76e66710", *names]


def test_no_table_has_anything_personal_in_clear(store: SealedStore, database: str) -> None:
    texts = everything(store)
    names = ask(
        database, "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    every = "".join(repr(ask(database, f"SELECT * FROM {row['name']}")) for row in names)
    assert "criminal" in every and "2027-05-31" in every  # what lists and triggers go by
    assert [text for text in texts if text in every] == []
    columns = ask(database, "SELECT table_name AS of, column_name AS name FROM information_schema.columns")
    there = {(row["of"], row["name"]) for row in columns}
    personal = {(table, name) for table, names in SEALED.items() for name in names}
    assert there & personal == {("recordings", "hold")}


def test_the_salt_is_sealed_and_the_commitment_is_its_proof(store: SealedStore, database: str) -> None:
    of = receipt(recording())
    store.add_receipt(of)
    (row,) = kept(database, "receipts")
    (entry,) = ask(database, "SELECT * FROM chain WHERE kind = 'receipt'")
    opened = unsealed(store.keys.get([row["key"]]).keys[row["key"]], "receipts", of.id, row["sealed"])
    there = SEALED["receipts"]
    personal = {
        name: value for name, value in of.to_json().items() if name in there and name != "operators"
    }  # of which nothing is said where one has talked
    text = json.dumps(personal, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    assert entry["personal"] == hmac.digest(opened["salt"].encode(), text, "sha256").hex()
    assert opened["salt"] not in repr(row) + repr(ask(database, "SELECT * FROM chain"))
    assert len(opened["salt"]) == 32


def test_a_row_keeps_its_key_while_it_gains_and_what_stays_as_it_is_is_not_sealed_anew(
    store: SealedStore, database: str
) -> None:
    of = receipt(recording(), ended_at=None, operator=None)
    store.add_receipt(of)
    (first,) = kept(database, "receipts")
    for minute in range(5):
        at = START + timedelta(minutes=minute)
        of = replace(of, operator=OPERATOR, events=(*of.events, Event(at=at, what=f"minute {minute}")))
        store.update_receipt(of)
    (row,) = kept(database, "receipts")
    assert row["key"] == first["key"] and row["sealed"] != first["sealed"]
    assert store.receipt(of.id) == of and store.keys_left() == 0
    store.update_receipt(of := replace(of, outcome="abandoned", phase="notice"))
    (after,) = kept(database, "receipts")
    assert {name for name in row if row[name] != after[name]} == {"outcome", "phase", "chain_seq"}
    assert store.receipt(of.id) == of


def test_a_row_that_loses_something_gets_another_key(
    store: SealedStore, database: str, tmp_path: Path
) -> None:
    of = recording()
    store.add_recording(of)
    store.update_recording(replace(of, hold=HOLD))
    (held,) = kept(database, "recordings")
    store.update_recording(of)
    (free,) = kept(database, "recordings")
    assert free["key"] != held["key"] and free["hold"] is None
    there = keys_in(tmp_path / "vault")
    assert held["key"] not in there and not any(opens(key, held["sealed"]) for key in there.values())
    assert store.recording(of.id) == of


def test_a_row_whose_key_is_gone_is_forgotten(store: SealedStore, database: str, tmp_path: Path) -> None:
    of = recording(hold=None)
    store.add_recording(of)
    store.update_recording(replace(of, hold=HOLD))
    (before,) = kept(database, "recordings")
    store.update_recording(replace(of, caller=None, operator=None, call_id=None))
    run(database, "ALTER TABLE recordings DISABLE TRIGGER USER")
    run(
        database,
        "UPDATE recordings SET sealed = ?, key = ?, hold = ?",
        *(before[x] for x in ("sealed", "key", "hold")),
    )
    with sealed_store(database, tmp_path / "vault") as other:
        there = other.recording(of.id)
    assert (there.caller, there.operator, there.call_id) == (None, None, None)
    assert there.hold == {"ground": "criminal", "review": "2027-05-31"}


def test_a_row_whose_bundle_is_lost_is_damaged_and_the_others_are_not(
    store: SealedStore, database: str, tmp_path: Path
) -> None:
    first, second = receipt(recording()), receipt(recording(10))
    store.add_receipt(first)
    store.keys.reserve(500)  # a bundle of its own
    store.add_receipt(second)
    keys = [row["key"] for row in kept(database, "receipts")]
    assert len({key.partition("/")[0] for key in keys}) == 2
    for path in (tmp_path / "vault" / "rows" / keys[0].partition("/")[0]).iterdir():
        path.unlink()
    damaged: list[tuple[str, str]] = []
    with sealed_store(database, tmp_path / "vault") as other:
        assert other.receipts(damaged=lambda id, why: damaged.append((id, why))) == [second]
        with pytest.raises(DamagedRow, match="is missing, and so are the keys of rows"):
            other.receipt(first.id)
    assert [id for id, _ in damaged] == [first.id]


def test_nobody_approves_what_they_asked_for_also_where_the_database_cannot_read_who(
    store: SealedStore,
) -> None:
    asked = store.add_approval(Approval(at=START, action="hold", recording_id="a", by="luc.roy"))
    own = replace(asked, state="approved", decided_by="luc.roy", decided_at=START)
    with pytest.raises(StoreError, match="nobody approves what they asked for"):
        store.update_approval(own)
    store.update_approval(replace(own, decided_by="eva.le-goff"))


@settings(max_examples=40)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=8, max_size=8))
def test_rows_with_hostile_texts_come_back(store_of_module: SealedStore, texts: list[str]) -> None:
    store = store_of_module
    caller, operator, call_id, what, outcome, called, by, text = texts
    of = receipt(
        recording(caller=caller, operator=operator, call_id=call_id, called=called),
        events=(Event(at=START, what=what),),
        outcome=outcome,
    )
    store.add_receipt(of)
    assert store.receipt(of.id) == of
    access = Access(at=START, action="play", recording_id=of.id, purpose=outcome, by=by, detail=text)
    assert store.access(store.add_access(access)) == access
    entry = store.entries([store.head().seq])[store.head().seq]
    assert entry.follows(store.hash_of(entry.seq - 1) or "")


@pytest.fixture(scope="module")
def store_of_module(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SealedStore]:
    with (
        fresh(postgres, tables) as conninfo,
        sealed_store(conninfo, tmp_path_factory.mktemp("vault"), host="a") as store,
    ):
        yield store


# --- texts that PostgreSQL does not take as they are ---


HOSTILE = st.text(st.sampled_from("\0\ue00001a") | st.characters(), max_size=20)


@given(text=HOSTILE)
@example("\ue0000")
@example("\ue000\0")
@example("\ue0001\ue000")
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    assert "\0" not in put_in(text)
    assert taken_out(put_in(text)) == text


@given(one=HOSTILE, other=HOSTILE)
def test_no_two_texts_become_one(one: str, other: str) -> None:
    assert (put_in(one) == put_in(other)) == (one == other)


@given(text=st.text(st.characters(exclude_characters="\0\ue000")))
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert put_in(text) == taken_out(text) == text
