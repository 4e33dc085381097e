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

from retention.records import (
    Access,
    Approval,
    Event,
    Json,
    Note,
    Receipt,
    Record,
    Recording,
    Sum,
)
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


@pytest.mark.parametrize("change", [
    {"seq": 3}, {"at": "2026-11-24T22:20:00.124Z"}, {"kind": "recording"}, {"was": 1}, {"personal": ""},
    {"subject": "20261124T222000123-4f2a9d"}, {"public": "{}"},
])  # fmt: skip
def test_an_entry_s_hash_is_that_of_its_eight_lines(change: Json) -> None:
    lines = ["cd" * 32, "2", ENTRY.at, "receipt", ENTRY.subject, "0", "ab" * 32, '{"décision":"refused"}']
    expected = hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()
    assert link("cd" * 32, ENTRY) == expected
    assert expected == "69d2dc47c6226067df909f8c477ef3568194304212b6cc183a25072d35a24c63"
    assert replace(ENTRY, hash=expected).follows("cd" * 32)
    assert not replace(ENTRY, hash=expected).follows("ce" * 32)
    assert link("cd" * 32, replace(ENTRY, **change)) != expected


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
    salts = {new_salt("recording", row) for _ in range(100)}  # 128 bits of chance
    assert len(salts) == 100 and all(salt and len(bytes.fromhex(salt)) == 16 for salt in salts)
    assert new_salt("recording", recording(call_id=None, caller=None, operator=None).to_json()) is None


USE = Access(at=START, action="play", by="A. Roux", system_user="jdoe", login="a.roux", via="web")
ROWS: dict[str, Record] = {
    "recording": recording(hold=HOLD),
    "receipt": receipt(recording(), keyword="je refuse", events=(Event(at=START, what="x", by=CALLER),)),
    "access": replace(USE, reference="2026/7", detail="B. Petit"),
    "note": Note(recording_id="a", at=START, by="A. Roux", text="what was said", expires_at=START),
    "approval": replace(asked_of(recording()), decided_by="B. Petit", answer="said"),
    "sum": Sum(what="rejected", count=7, from_at=START, until_at=START, code=503, by="edge: full"),
}
TYPES = {Receipt, Recording, Access, Note, Sum, Approval}


def test_each_field_may_be_known_for_ever_and_leads_to_nobody_or_is_committed_to() -> None:
    """A field that is added later is in the chain; whether it leads to a person is to be decided."""
    assert ROWS.keys() == TABLES.keys() and {type(row) for row in ROWS.values()} == TYPES
    persons = [CALLER, "marie", "192.0.2.7", "A. Roux", "B. Petit", "2026/7", "je refuse", "said", "jdoe"]
    for kind, record in ROWS.items():
        told = record.row() if isinstance(record, Approval) else record.to_json()
        text = public_text(kind, told)
        assert not [person for person in (*persons, "a.roux") if person in text], kind
        assert is_personal(kind, told) is (kind != "sum")
        assert not is_personal(kind, public(kind, told) | {"hold": None})
        names = {*type(record).__dict__["__dataclass_fields__"]} - ({"id"} if kind == "approval" else set())
        assert set(PERSONAL[kind]) <= names  # the database gives an approval its id
        known = public(kind, dict.fromkeys(names, "x") | {"hold": None})
        assert set(known) >= names - set(PERSONAL[kind])
    hold = public("recording", ROWS["recording"].to_json())["hold"]
    assert hold == {"ground": "criminal", "review": "2027-01-01"}
    assert public("recording", recording().to_json())["hold"] is None


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
    lived_in(tmp_path).store.close()
    with closing(sqlite3.connect(tmp_path / "retention.db")) as connection:
        connection.row_factory = sqlite3.Row
        chain = connection.execute("SELECT * FROM chain ORDER BY seq").fetchall()
        before, entries = "0" * 64, {}
        names = ("seq", "at", "kind", "subject", "was", "personal", "public")
        for number, entry in enumerate(chain, 1):
            lines = (before, *(str(entry[name]) for name in names))
            before = hashlib.sha256("\n".join(lines).encode()).hexdigest()
            assert (entry["seq"], entry["hash"]) == (number, before)
            entries[number] = entry
        exported = json.loads((tmp_path / "retention.head").read_text())
        assert exported == {"seq": len(chain), "hash": before}
        for kind, table in TABLES.items():
            for row in map(dict, connection.execute(f"SELECT * FROM {table}")):
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
                known = json.loads(entry["public"])
                assert known.get("started_at") == row.get("started_at")
