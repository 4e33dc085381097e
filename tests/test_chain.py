"""The chain by its definition: computed here a second time, from what is written down and nothing else."""

import hashlib
import hmac
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.records import Access, Approval, Event, Json, Note, Receipt, Recording, Sum
from retention.rows.chain import (
    PERSONAL,
    TABLES,
    ChainEntry,
    canonical,
    commitment,
    is_personal,
    link,
    new_salt,
    public,
    public_text,
)
from tests.kept import CALLER, START, receipt, recording
from tests.tampering import HOLD, asked_of, lived_in

ENTRY = ChainEntry(
    seq=2,
    at="2026-11-24T22:20:00.123Z",
    kind="receipt",
    subject="20261124T222000123-4f2a9c",
    was=0,
    personal="ab" * 32,
    public='{"décision":"refused"}',
    hash="",
)


def test_an_entry_s_hash_is_that_of_its_eight_lines() -> None:
    lines = [
        "cd" * 32,
        "2",
        "2026-11-24T22:20:00.123Z",
        "receipt",
        "20261124T222000123-4f2a9c",
        "0",
        "ab" * 32,
        '{"décision":"refused"}',
    ]
    expected = hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()
    assert link("cd" * 32, ENTRY) == expected
    assert expected == "69d2dc47c6226067df909f8c477ef3568194304212b6cc183a25072d35a24c63"
    assert replace(ENTRY, hash=expected).follows("cd" * 32)
    assert not replace(ENTRY, hash=expected).follows("ce" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 3},
        {"at": "2026-11-24T22:20:00.124Z"},
        {"kind": "recording"},
        {"subject": "20261124T222000123-4f2a9d"},
        {"was": 1},
        {"personal": ""},
        {"public": "{}"},
    ],
)
def test_every_line_counts(change: Json) -> None:
    assert link("cd" * 32, replace(ENTRY, **change)) != link("cd" * 32, ENTRY)


def test_a_commitment_is_an_hmac_with_the_row_s_salt() -> None:
    row = recording(hold=HOLD).to_json()
    salt = "00112233445566778899aabbccddeeff"
    text = (
        '{"call_id":"a84b4c76e66710@192.0.2.7","caller":"+33612345678","hold":{"approved_by":"B. Petit",'
        '"by":"A. Roux","ground":"criminal","reference":"2026/7","review":"2027-01-01"},'
        '"operator":"sip:marie.durand@pbx.example.net"}'
    )
    expected = hmac.new(salt.encode("ascii"), text.encode("utf-8"), hashlib.sha256).hexdigest()
    assert commitment("recording", row, salt) == expected
    assert commitment("recording", row, "01" + salt[2:]) != expected
    assert commitment("recording", row, None) == ""


def test_salts_are_128_bits_of_chance() -> None:
    salts = {new_salt("recording", recording().to_json()) for _ in range(100)}
    assert len(salts) == 100 and all(salt and len(bytes.fromhex(salt)) == 16 for salt in salts)
    assert new_salt("recording", recording(call_id=None, caller=None, operator=None).to_json()) is None


PERSONS = (
    CALLER,
    "marie",
    "192.0.2.7",
    "A. Roux",
    "B. Petit",
    "2026/7",
    "je refuse",
    "said",
    "jdoe",
    "a.roux",
)


def test_what_may_be_known_for_ever_leads_to_nobody() -> None:
    event = Event(at=START, what="invited", by=CALLER)
    row = recording(hold=HOLD)
    rows = {
        "recording": row,
        "receipt": receipt(row, keyword="je refuse", events=(event,)),
        "access": Access(
            at=START,
            action="play",
            by="A. Roux",
            system_user="jdoe",
            login="a.roux",
            reference="2026/7",
            detail="B. Petit",
            via="web",
        ),
        "note": Note(recording_id=row.id, at=START, by="A. Roux", text="what was said", expires_at=START),
        "approval": replace(asked_of(row), decided_by="B. Petit", answer="said"),
        "sum": Sum(what="rejected", count=7, from_at=START, until_at=START, code=503, by="edge: full"),
    }
    assert rows.keys() == TABLES.keys()
    for kind, record in rows.items():
        json = record.row() if isinstance(record, Approval) else record.to_json()
        text = public_text(kind, json)
        assert not [person for person in PERSONS if person in text], kind
        assert is_personal(kind, json) is (kind != "sum")
        assert not is_personal(kind, public(kind, json) | {"hold": None})
    assert public("recording", row.to_json())["hold"] == {"ground": "criminal", "review": "2027-01-01"}
    assert public("recording", recording().to_json())["hold"] is None


@pytest.mark.parametrize(
    ("kind", "type"),
    [
        ("receipt", Receipt),
        ("recording", Recording),
        ("access", Access),
        ("note", Note),
        ("sum", Sum),
        ("approval", Approval),
    ],
)
def test_every_field_is_either_for_ever_or_committed_to(kind: str, type: type) -> None:
    """A field that is added later is in the chain; whether it leads to a person is to be decided."""
    names = set(type.__dataclass_fields__)  # type: ignore[attr-defined]
    names -= {"id"} if kind == "approval" else set()  # the database gives it
    assert set(PERSONAL[kind]) <= names
    assert set(public(kind, dict.fromkeys(names, "x") | {"hold": None})) >= names - set(PERSONAL[kind])


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_canonical_json_is_one_line_and_says_the_same(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert "\n" not in text
    shuffled = dict(reversed(value.items())) if isinstance(value, dict) else value
    assert canonical(shuffled) == text


def test_the_whole_chain_of_a_service_by_its_definition(tmp_path: Path) -> None:
    """From the file alone, with nothing of ours: what somebody else would write to check it."""
    lived_in(tmp_path).store.close()
    with closing(sqlite3.connect(tmp_path / "retention.db")) as connection:
        connection.row_factory = sqlite3.Row
        chain = connection.execute("SELECT * FROM chain ORDER BY seq").fetchall()
        before, entries = "0" * 64, {}
        for number, entry in enumerate(chain, 1):
            lines = (
                before,
                *(entry[name] for name in ("seq", "at", "kind", "subject", "was", "personal", "public")),
            )
            before = hashlib.sha256("\n".join(map(str, lines)).encode()).hexdigest()
            assert (entry["seq"], entry["hash"]) == (number, before)
            entries[number] = entry
        exported = json.loads((tmp_path / "retention.head").read_text())
        assert exported == {"seq": len(chain), "hash": before}
        for kind, table in TABLES.items():
            for row in connection.execute(f"SELECT * FROM {table}"):
                entry = entries[row["chain_seq"]]
                assert (entry["kind"], entry["subject"]) == (kind, str(row["id"]))
                person = {
                    name: json.loads(row[name])
                    if name in ("hold", "events", "operators") and row[name]
                    else row[name]
                    for name in PERSONAL[kind]
                    if name not in ("login", "operators") or row[name] is not None
                }
                text = json.dumps(person, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
                salt = row["salt"]
                proof = hmac.new(salt.encode(), text.encode(), "sha256").hexdigest() if salt else ""
                assert proof == entry["personal"]
                assert json.loads(entry["public"]).get("started_at", "") in (
                    dict(row).get("started_at", ""),
                    "",
                )
