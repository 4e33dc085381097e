"""`export --format vcon`: each call as the draft has it, signed so that others can check it, and in a copy of
one side nothing of the other. What a use may be for, and what the trace says: test_uses, test_cli_use."""

import hashlib
import io
import json
import os
import subprocess
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import soundfile
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, load_der_x509_certificate
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from jsonschema import Draft202012Validator

from retention.erase import delete, erase
from retention.records import (
    Access,
    Event,
    Hold,
    MissingSound,
    Note,
    new_id,
)
from retention.roots import make_root, newest
from retention.rows.rows import Rows
from retention.signed import base64url, signer_of
from retention.use import known_copies
from sipagent.operations.vcon import basis_of
from tests.kept import QUALITY, receipt, recording, remove
from tests.office import Office, make_office, stereo
from tests.sealing import make_sealed_office, sealed_call

ROOT = Path(__file__).parent.parent
LAW = "public task, GDPR article 6(1)(e)"
GOOD = ("--format", "vcon", "--purpose", "quality", "--by", "Durand")
CALLER, FIRST, SECOND = "+33612345678", "sip:marie.durand@pbx.example.net", "sip:204@pbx.example.net"
HEARD = "ab" * 32


# --- offices, and what is exported there ---


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of this year: an RSA one takes a second to make."""
    from retention.files import Places

    places = Places(tmp_path_factory.mktemp("keys") / "retention.db")
    signer_of(places, datetime.now(UTC).year)
    return places.signing


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], signing: Path) -> Office:
    return with_keys(make_office(tmp_path, capsys), signing)


def with_keys(office: Office, signing: Path) -> Office:
    (office.folder / "signing").mkdir(mode=0o700)
    for file in signing.iterdir():
        (office.folder / "signing" / file.name).write_bytes(file.read_bytes())
    config = (office.folder / "config.toml").read_text()
    law = f'controller = "Test"\nlegal_basis = "{LAW}"'
    (office.folder / "config.toml").write_text(config.replace('controller = "Test"', law))
    return office


@dataclass(frozen=True)
class Exported:
    """A file as it was made, and the vCon in it."""

    file: Path
    content: bytes

    @property
    def jws(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found

    @property
    def vcon(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(decoded(self.jws["payload"]))
        return found

    @property
    def basis(self) -> dict[str, Any]:
        (found,) = self.vcon["attachments"]
        body: dict[str, Any] = found["body"]
        return body

    @property
    def proof(self) -> dict[str, Any]:
        found: dict[str, Any] = self.basis["proof_mechanisms"][0]
        return found

    @property
    def dialog(self) -> dict[str, Any]:
        (found,) = self.vcon["dialog"]
        return dict(found)

    @property
    def hash(self) -> str:
        return content_hash(self.content)


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def content_hash(content: bytes) -> str:
    return f"sha512-{encoded(hashlib.sha512(content).digest())}"


def export(office: Office, id: str, channel: str = "both", *more: object) -> Exported:
    out = office.folder / f"{id}-{channel}.vcon"
    words = ("export", id, *GOOD, "--channel", channel, "--out", out, "--force", *more)
    result = office.run(*words)
    assert (result.code, result.out) == (0, f"{out}\n"), result
    return Exported(out, out.read_bytes())


# --- what the draft says of each object, with the names of no other ---

TEXT, DATE, INDEX = (
    {"type": "string"},
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": 0},
)
HASH = {"type": "string", "pattern": "^sha512-[A-Za-z0-9_-]{86}$"}
UUID8 = {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}
MEDIA = {"type": "string", "pattern": "^[a-z]+/[a-z0-9.+-]+$"}


def some(of: object) -> dict[str, Any]:
    return {"type": "array", "items": of}


def known(needed: str, **properties: object) -> dict[str, Any]:
    told = {"type": "object", "required": needed.split(), "properties": properties}
    return told | {"additionalProperties": False}


CONTENT = {"mediatype": MEDIA, "filename": TEXT, "content_hash": HASH, "body": True} | {
    "encoding": {"enum": ["base64url", "json", "none"]}
}
PARTY = known(
    "", tel={"type": "string", "pattern": r"^\+?[0-9*#]+$"}, sip={"type": "string", "pattern": "^sips?:"},
    name=TEXT, validation=TEXT, type={"enum": ["person", "bot", "organization"]}, org=TEXT,
)  # fmt: skip
EVENT = known("party time event", party=INDEX, time=DATE, event={"enum": ["join", "drop", "hold", "unhold"]})
DIALOG = known(
    "type start", type={"enum": ["recording", "incomplete"]}, start=DATE,
    duration={"type": "number", "minimum": 0}, parties=some({"anyOf": [INDEX, some(INDEX)]}),
    originator=INDEX, party_history=some(EVENT), application=TEXT,
    disposition={"enum": ["no-answer", "congestion", "failed", "busy", "hung-up", "voicemail-no-message"]},
    **CONTENT,
)  # fmt: skip
ANALYSIS = known(
    "type vendor dialog encoding body", type={"const": "report"}, dialog=INDEX, vendor=TEXT, product=TEXT,
    schema=TEXT, **CONTENT,
)  # fmt: skip
GRANT = known("purpose granted granted_at", purpose=TEXT, granted={"type": "boolean"}, granted_at=DATE)
PROOF = known(
    "proof_type timestamp proof_data", timestamp=DATE, proof_data={"type": "object"},
    proof_type={"enum": ["verbal_confirmation", "external_system"]},
)  # fmt: skip
BASES = ["consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"]
LAWFUL = known(
    "lawful_basis expiration purpose_grants", lawful_basis={"enum": BASES},
    expiration={"anyOf": [DATE, {"type": "null"}]}, purpose_grants=some(GRANT), proof_mechanisms=some(PROOF),
    metadata={"type": "object"},
)  # fmt: skip
ATTACHMENT = known(
    "start party dialog", purpose={"const": "lawful_basis"}, start=DATE, party=INDEX, dialog=INDEX,
    **CONTENT | {"body": LAWFUL},
)  # fmt: skip
VCON = known(
    "vcon uuid created_at parties dialog attachments", vcon={"const": "0.4.0"}, uuid=UUID8, created_at=DATE,
    extensions={"const": ["lawful_basis"]}, redacted=known("type", uuid=UUID8, type=TEXT, content_hash=HASH),
    parties=some(PARTY), dialog=some(DIALOG), analysis=some(ANALYSIS), attachments=some(ATTACHMENT),
)  # fmt: skip
SIGNATURE = known(
    "header protected signature", protected=TEXT, signature=TEXT,
    header=known("x5c uuid", x5c=some(TEXT), uuid=UUID8),
)  # fmt: skip
SIGNED = known("payload signatures", payload=TEXT, signatures=some(SIGNATURE))


def check_form(exported: Exported) -> None:
    """Against the schema, and every index against what it is of."""
    vcon = exported.vcon
    for schema, value in ((SIGNED, exported.jws), (VCON, vcon)):
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    parties = len(vcon["parties"])
    for dialog in vcon["dialog"]:
        named = [one for some in dialog["parties"] for one in (some if isinstance(some, list) else [some])]
        named += [one["party"] for one in dialog.get("party_history", ())]
        assert max(named) < parties - 1  # who is responsible takes no part
        assert (dialog["type"] == "incomplete") == ("disposition" in dialog)
    pieces = (*vcon["analysis"], *vcon["attachments"])
    assert all(one["dialog"] == 0 for one in pieces) and all("mediatype" in one for one in pieces)
    assert check_signature(exported.jws) == vcon["uuid"] == exported.jws["signatures"][0]["header"]["uuid"]


def check_signature(jws: dict[str, Any]) -> str:
    """By RFC 7515 section 5.2, with none of our code; the uuid that was signed. Raises InvalidSignature."""
    (one,) = jws["signatures"]
    own, issuer = certificates(jws)
    assert json.loads(decoded(one["protected"])) == {"alg": "RS256"} and "alg" not in one["header"]
    key = own.public_key()
    assert isinstance(key, RSAPublicKey) and key.key_size >= 3072
    key.verify(
        decoded(one["signature"]), f"{one['protected']}.{jws['payload']}".encode(), PKCS1v15(), SHA256()
    )
    own.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(issuer)
    uuid: str = json.loads(decoded(jws["payload"]))["uuid"]
    return uuid


OPEN = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False)  # `uuid` is a name of the draft's
OPEN.max_payload_length = 1 << 30


def check_by_joserfc(told: Any, own: Certificate) -> None:
    """Raises JoseError."""
    pem = own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jws.deserialize_json(told, RSAKey.import_key(pem), registry=OPEN)


def certificates(jws: dict[str, Any]) -> list[Certificate]:
    return [load_der_x509_certificate(b64decode(one)) for one in jws["signatures"][0]["header"]["x5c"]]


# --- all kinds of calls ---

Kind = Callable[[Office], str]  # keeps a call; its id


def recorded(office: Office, **changes: Any) -> str:
    """With a pause, a hold and a transfer."""
    at = datetime.now(UTC) - timedelta(hours=1)
    row = office.call(
        **{"operator": SECOND, "operators": (FIRST, SECOND), "caller": CALLER}
        | {"missing": (MissingSound(from_s=1, to_s=1.5, channel="operator", why="concealed"),)}
        | changes
    )
    events = [
        (2, "recording started", "agent"), (2, f"bridged with {FIRST}", "operator"), (3, "hold", "caller"),
        (4, "hold ended", "caller"), (5, f"transfer to {SECOND}", "operator"),
        (6, f"bridged with {SECOND}", "operator"),
    ]  # fmt: skip
    told = tuple(Event(at=at + timedelta(seconds=s), what=what, by=by) for s, what, by in events)
    _change(office, row.id, answered_at=at, connected_at=at + timedelta(seconds=2), events=told)
    office.archive.store.add_note(
        Note(recording_id=row.id, at=at, by="Petit", text="Calm.\x07\n" * 9000, expires_at=row.expires_at)
    )
    return row.id


def _change(office: Office, id: str, **changes: Any) -> None:
    store = office.archive.store
    store.update_receipt(replace(store.receipt(id), **changes))


def unrecorded(office: Office, **changes: Any) -> str:
    """A call of which a receipt alone is kept."""
    at = datetime.now(UTC) - timedelta(hours=2)
    row = recording(id=new_id(at), started_at=at, caller=CALLER, operator=FIRST)
    fields = {"recording_id": None, "answered_at": at, "connected_at": at + timedelta(seconds=9)}
    office.archive.store.add_receipt(
        receipt(row, **fields | {"expires_at": row.expires_at + timedelta(999)} | changes)
    )
    return row.id


REFUSED: dict[str, Any] = {
    "decision": "refused", "phase": "notice", "decided_at": datetime.now(UTC) - timedelta(minutes=110),
    "events": (Event(at=datetime.now(UTC), what=f"notice: notice.wav, sha256 {HEARD}", by="agent"),),
}  # fmt: skip
BY_KEY = REFUSED | {"decided_by": "dtmf", "dtmf_method": "rfc4733"}
BY_VOICE = REFUSED | {"decided_by": "voice", "keyword": "non merci", "confidence": 0.93}
NOBODY: dict[str, Any] = {"connected_at": None, "operator": None, "decision": "undecided", "decided_by": None}


def erased(office: Office) -> str:
    """The caller refused in the call."""
    archive = office.archive
    at = datetime.now(UTC) - timedelta(hours=1)
    row = recording(id=new_id(at), started_at=at, caller=CALLER, operator=FIRST)
    archive.store.add_receipt(receipt(row, **BY_KEY | {"connected_at": at}))
    archive.open(row)
    erase(archive, row.id, at)
    return row.id


def purged(office: Office) -> str:
    row = office.call(caller=CALLER)
    assert remove(office.archive, row.id, row.expires_at)
    _change(office, row.id, **{n: getattr(office.archive.store.receipt(row.id).anonymous(), n) for n in GONE})
    return row.id


def lost(office: Office) -> str:
    """Its agent died in the call, and what was there is kept; the phone's address is none of SIP."""
    row = office.call(caller=CALLER, operator="marie durand", incomplete=True)
    _change(office, row.id, outcome="failed", connected_at=None, operator="marie durand")
    return row.id


GONE = ("call_id", "caller", "operator", "operators", "keyword", "events")


def held(office: Office) -> str:
    row = office.call(caller=CALLER)
    hold = Hold(ground="criminal", reference="2026-41", review="2027-01-31", by="Ann", approved_by="Ben")
    office.archive.store.update_recording(replace(row, hold=hold.to_json()))
    return row.id


KINDS: dict[str, tuple[Kind, str, str]] = {  # its dialog, what is gone of it
    "recorded": (recorded, "recording", ""),
    "recorded, no number": (partial(recorded, caller=None), "recording", ""),
    "held": (held, "recording", ""),
    "lost": (lost, "recording", ""),
    "refused by key": (partial(unrecorded, **BY_KEY), "recording", "sound"),
    "refused by voice": (partial(unrecorded, **BY_VOICE), "recording", "sound"),
    "not allowed": (partial(unrecorded, decision="not_allowed", decided_by="sampling"), "recording", "sound"),
    "erased": (erased, "recording", "sound"),
    "purged": (purged, "recording", "sound, persons"),
    "abandoned": (partial(unrecorded, outcome="abandoned", **NOBODY), "incomplete", ""),
    "unavailable": (partial(unrecorded, outcome="unavailable", **NOBODY), "incomplete", ""),
    "rejected": (partial(unrecorded, outcome="rejected", answered_at=None, **NOBODY), "incomplete", ""),
}
OWN = {"caller": ("12345678", "non merci"), "operator": ("marie", "durand", "204@", "pbx.example")}


@pytest.mark.parametrize("kind", KINDS)
def test_every_call_has_a_vcon_and_no_copy_of_one_side_tells_of_the_other(office: Office, kind: str) -> None:
    keep_call, dialog, gone = KINDS[kind]
    id = keep_call(office)
    whole = export(office, id)
    check_form(whole)
    sounds = dialog == "recording" and not gone
    assert whole.dialog["type"] == dialog and ("body" in whole.dialog) == sounds
    assert whole.vcon.get("redacted", {}) == ({"type": gone} if gone else {})
    for side, other in (("caller", "operator"), ("operator", "caller")):
        copy = export(office, id, side)
        check_form(copy)
        told = decoded(copy.jws["payload"]).decode().lower().replace(whole.vcon["parties"][-1]["tel"], "")
        assert not [name for name in OWN[other] if name in told], told
        assert "calm." not in told
        redacted = copy.vcon["redacted"]
        assert redacted["type"] == ", ".join(filter(None, (other, gone)))
        assert (redacted["uuid"], redacted["content_hash"]) == (whole.vcon["uuid"], whole.hash)
        assert len(copy.vcon["parties"]) == len(whole.vcon["parties"])
        assert len(copy.vcon["analysis"]) == len(whole.vcon["analysis"])
        if sounds:
            index = ("caller", "operator").index(side)
            assert np.array_equal(sound_of(copy), stereo()[:, index : index + 1])
    if sounds:
        assert np.array_equal(sound_of(whole), stereo())
    copies = known_copies(office.archive.store, id)
    assert {Path(one.path).name for one in copies if one.exists} == {
        f"{id}-{channel}.vcon" for channel in ("both", "caller", "operator")
    }
    assert [use.detail for use in office.archive.store.accesses(id) if use.action == "export"] == [
        f'{channel}, vCon to "{office.folder / f"{id}-{channel}.vcon"}"'
        for channel in ("both", "caller", "operator")
    ]


def sound_of(exported: Exported) -> np.ndarray[Any, Any]:
    dialog = exported.dialog
    assert (dialog["mediatype"], dialog["encoding"]) == ("audio/x-wav", "base64url")
    content = decoded(dialog["body"])
    assert dialog["content_hash"] == content_hash(content)
    found: np.ndarray[Any, Any] = soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)[0]
    return found


# --- what it tells ---


def test_who_is_on_which_channel_and_who_came_when(office: Office) -> None:
    whole = export(office, recorded(office))
    people = [{"tel": CALLER, "validation": "verified A"}, {"sip": FIRST}, {"sip": SECOND}]
    house = {
        "name": "Test",
        "validation": "none",
        "org": "Test",
        "tel": "+33323063006",
        "type": "organization",
    }
    assert whole.vcon["parties"] == [*(one | {"type": "person"} for one in people), house]
    dialog = whole.dialog
    assert (dialog["parties"], dialog["duration"]) == ([0, [1, 2]], 2.0)
    moments = [(one["party"], one["event"]) for one in dialog["party_history"]]
    assert moments == [
        *((0, "join"), (1, "join"), (0, "hold"), (0, "unhold"), (1, "drop"), (2, "join")),
        *((0, "drop"), (2, "drop")),
    ]
    assert dialog["start"] == dialog["party_history"][1]["time"]  # of the sound, not of the call
    operator = export(office, whole.basis["metadata"]["id"], "operator").dialog
    assert (operator["parties"], operator["originator"]) == ([1, 2], 0)
    missing, quality, note = (one["body"] for one in whole.vcon["analysis"])
    assert missing["pauses"] == [{"from_s": 3.5, "to_s": 8.0}] and missing["missing"][0]["why"] == "concealed"
    assert quality == QUALITY.to_json() and note == "Calm.\x07\n" * 9000
    caller = export(office, whole.basis["metadata"]["id"], "caller").vcon["analysis"]
    assert caller[0]["body"] == missing | {"missing": []} and set(caller[1]["body"]) == {"caller"}


def test_a_refusal_is_told_with_its_way_its_time_and_its_notice(office: Office) -> None:
    key, voice = (export(office, unrecorded(office, **how)) for how in (BY_KEY, BY_VOICE))
    for told, way in ((key, "external_system"), (voice, "verbal_confirmation")):
        assert told.basis["lawful_basis"] == "public_task" and told.basis["metadata"]["law"] == LAW
        assert not any(one["granted"] for one in told.basis["purpose_grants"])
        assert (
            told.proof["proof_type"] == way
            and told.proof["timestamp"] == told.vcon["attachments"][0]["start"]
        )
        data = told.proof["proof_data"]
        assert (data["decision"], data["phase"]) == ("refused", "notice")
        assert data["notice"] == {"file": "notice.wav", "sha256": HEARD}
    assert key.proof["proof_data"]["dtmf_method"] == "rfc4733"
    assert voice.proof["proof_data"]["keyword"] == "non merci"
    assert key.basis["metadata"]["draft"] == "draft-ietf-vcon-vcon-core-04"


def test_until_when_it_may_be_kept(office: Office) -> None:
    row = office.call()
    expires = export(office, row.id).basis["expiration"]
    assert datetime.fromisoformat(expires) == row.expires_at.replace(
        microsecond=row.expires_at.microsecond // 1000 * 1000
    )
    on_hold = export(office, held(office)).basis
    assert (
        on_hold["expiration"] is None and on_hold["metadata"]["held"] and "2026-41" not in json.dumps(on_hold)
    )
    refused = unrecorded(office, **BY_KEY)
    assert (
        export(office, refused).basis["expiration"]
        == office.archive.store.receipt(refused).to_json()["expires_at"]
    )


def test_where_the_chain_tells_of_it(office: Office) -> None:
    """By hashes that are salted; so a version is linked to the ones before it, whoever was in them."""
    row = office.call()
    before = export(office, row.id)
    store = office.archive.store
    assert before.basis["metadata"]["chain"] == {
        kind: {"seq": entry.seq, "hash": entry.hash} for kind, entry in store.entries_of(row.id).items()
    }
    remove(office.archive, row.id, row.expires_at)
    after = export(office, row.id)
    entry, earlier = store.entries_of(row.id)["recording"], []
    while entry.was:
        entry = store.entries([entry.was])[entry.was]
        earlier.append(entry.hash)
    assert before.basis["metadata"]["chain"]["recording"]["hash"] in earlier
    assert (
        after.vcon["uuid"] != before.vcon["uuid"]
        and after.basis["metadata"]["recording"]["status"] == "purged"
    )


@pytest.mark.parametrize(
    ("law", "basis"),
    [
        (LAW, "public_task"),
        ("mission d'intérêt public, article 6(1)(e) du RGPD", "public_task"),
        ("article 6, paragraphe 1, point f) du RGPD", "legitimate_interests"),
        ("RGPD, art. 6 § 1 c", "legal_obligation"),
        ("le consentement", "consent"),
        ("intérêts légitimes du responsable", "legitimate_interests"),
        ("6.1.b", "contract"),
        ("article 6(1)(d)", "vital_interests"),
        ("", None),
        ("the statutes of 1998", None),
        ("article 6(1)(a) and (f)", "consent"),
        ("article 6(1)(a), article 6(1)(f)", None),
        ("consent, or a contract", None),
    ],
)
def test_one_basis_or_none_is_read_from_the_law(law: str, basis: str | None) -> None:
    assert basis_of(law) == basis


def test_without_a_basis_none_is_made_up(office: Office) -> None:
    config = office.folder / "config.toml"
    config.write_text(config.read_text().replace(LAW, ""))
    told = export(office, office.call().id)
    assert told.vcon["extensions"] == [] and told.vcon["attachments"][0]["purpose"] == "recording_decision"
    assert "lawful_basis" not in told.basis and told.proof["proof_data"]["decision"] == "allowed"
    check_signature(told.jws)


def test_whatever_stands_in_the_rows_it_is_json(office: Office) -> None:
    odd = 'Zoé "\\\u2028\x00\x1b[31m</script>\U0001f600'
    row = office.call(caller=odd, operator=f"sip:{odd}@x", called=odd)
    told = export(office, row.id)
    assert [one.get("name") or one.get("sip") for one in told.vcon["parties"]] == [
        odd,
        f"sip:{odd}@x",
        "Test",
    ]
    assert decoded(told.jws["payload"]).isascii() and np.array_equal(sound_of(told), stereo())


# --- versions and signatures ---


def test_the_same_rows_give_the_same_file(office: Office) -> None:
    """So who has two files knows whether they tell the same; a change has another uuid."""
    id = recorded(office)
    first = export(office, id)
    assert export(office, id).content == first.content
    _change(office, id, not_recorded_because="host_lost")
    assert export(office, id).vcon["uuid"] != first.vcon["uuid"]


def test_others_can_check_it_and_whose_key_it_is(office: Office, tmp_path: Path) -> None:
    """By joserfc and openssl; the published root names the key that issued the certificate."""
    told = export(office, office.call().id)
    own, issuer = certificates(told.jws)
    check_by_joserfc(told.jws, own)
    store = office.archive.store
    assert make_root(store, datetime.now(UTC) + timedelta(days=1)) and store.places
    root = newest(store.places.roots)
    raw = issuer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    assert root and root.keys[str(datetime.now(UTC).year)] == raw
    files = {"own": own.public_bytes(Encoding.PEM), "issuer": issuer.public_bytes(Encoding.PEM)}
    files["key"] = own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (one,) = told.jws["signatures"]
    files |= {
        "input": f"{one['protected']}.{told.jws['payload']}".encode(),
        "signature": decoded(one["signature"]),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for words in (
        ("verify", "-CAfile", "issuer", "own"),
        ("dgst", "-sha256", "-verify", "key", "-signature", "signature", "input"),
    ):
        assert subprocess.run(("openssl", *words), cwd=tmp_path, check=True, capture_output=True).stdout


@pytest.mark.skipif(which("jq") is None or which("xxd") is None, reason="jq or xxd is not installed")
def test_what_the_page_says_to_check_it_with_does(office: Office) -> None:
    page = (ROOT / "docs/en/vcon.md").read_text(encoding="utf-8")
    script = next(block for block in page.split("```sh\n") if block.startswith("jq ")).partition("```")[0]
    told = export(office, office.call().id)

    def said() -> list[str]:
        shell, place = ("sh", "-c", script), office.folder
        done = subprocess.run(shell, cwd=place, capture_output=True, text=True, check=False)
        return done.stdout.splitlines()

    file = office.folder / "call.vcon"
    file.write_bytes(told.content)
    raw = certificates(told.jws)[1].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    assert said() == ["Verified OK", "certificate-0.pem: OK", raw]
    file.write_text(json.dumps(told.jws | {"payload": encoded(b"{}")}))
    assert "Verified OK" not in said()


def test_each_tampering_is_found(office: Office) -> None:
    told = export(office, unrecorded(office, **BY_KEY))
    good = told.jws
    vcon = told.vcon
    vcon["attachments"][0]["body"]["proof_mechanisms"][0]["proof_data"]["decision"] = "allowed"
    (one,) = good["signatures"]
    signature = decoded(one["signature"])
    for bad in (
        good | {"payload": encoded(json.dumps(vcon).encode())},
        good | {"payload": good["payload"][:-4]},
        good | {"signatures": [one | {"signature": encoded(signature[:-1] + bytes([signature[-1] ^ 1]))}]},
        good | {"signatures": [one | {"protected": encoded(b'{"alg":"RS256","x":1}')}]},
        good | {"signatures": [one | {"protected": encoded(b'{"alg":"none"}'), "signature": ""}]},
    ):
        with pytest.raises((InvalidSignature, AssertionError)):
            check_signature(bad)
        with pytest.raises(JoseError):
            check_by_joserfc(bad, certificates(good)[0])


def test_another_year_has_another_key_and_ones_own_is_taken(office: Office, tmp_path: Path) -> None:
    places = office.archive.store.places
    assert places
    year = datetime.now(UTC).year
    ours, next_one = signer_of(places, year), signer_of(places, year + 1)
    assert ours.key.public_key() != next_one.key.public_key() and signer_of(places, year).x5c == ours.x5c
    assert (places.signing / f"{year + 1}.pem").stat().st_mode & 0o777 == 0o600
    file = places.signing / f"{year}.pem"
    file.write_bytes((places.signing / f"{year + 1}.pem").read_bytes())  # of whoever they have it
    told, row = export(office, office.call().id), office.call()
    assert certificates(told.jws) == [*next_one.chain]
    for bad in (b"-----BEGIN", file.read_bytes()[: file.read_bytes().index(b"-----BEGIN CERT")]):
        file.write_bytes(bad)
        said = office.fails(1, "export", row.id, *GOOD, "--out", office.folder / "x.vcon")
        assert f"{year}.pem: " in said and not (office.folder / "x.vcon").exists()
    assert [use.outcome for use in office.archive.store.accesses(row.id)] == ["failed", "failed"]


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_pieces_are_encoded_as_the_whole(pieces: list[bytes]) -> None:
    assert b"".join(base64url(pieces)).decode() == encoded(b"".join(pieces))


# --- a use like any other ---


def test_it_needs_a_purpose_a_name_and_the_end_of_the_call(office: Office) -> None:
    id, out = unrecorded(office, **BY_KEY), office.folder / "x.vcon"
    overdue = unrecorded(office, **BY_KEY | {"expires_at": datetime.now(UTC) - timedelta(days=1)})
    going_on = unrecorded(office, ended_at=None)
    to = ("--format", "vcon", "--out", out)
    for words, said in (
        ((id, *to), "a purpose is needed"),
        ((id, *to, "--purpose", "curiosity", "--by", "D"), "is not listed"),
        ((id, *to, "--purpose", "quality"), "--by"),
        ((overdue, *GOOD, "--out", out), "awaits the purge"),
        ((going_on, *GOOD, "--out", out), "in progress"),
    ):
        assert said in office.fails(1, "export", *words)
    assert "not named .vcon" in office.fails(2, "export", id, *GOOD, "--out", "call.wav")
    assert "has no recording" in office.fails(
        1, "export", id, "--purpose", "quality", "--by", "D", "--out", "c.wav"
    )
    assert not out.exists() and [use.outcome for use in office.archive.store.accesses(id)] == ["refused"] * 3
    request = ("--purpose", "access_request", "--reference", "2026-118", "--by", "D")
    assert office.run("export", overdue, *to, *request).code == 0


def test_what_is_forgotten_while_it_is_copied_leaves_no_copy(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, out = unrecorded(office, **BY_KEY), office.folder / "x.vcon"
    entries = Rows.entries_of

    def meanwhile(store: Rows, of: str) -> Any:
        archive = office.archive
        trace = Access(at=datetime.now(UTC), action="delete", recording_id=of, by="Petit", detail="asked")
        delete(archive, of, trace, lambda: datetime.now(UTC))
        return entries(store, of)

    monkeypatch.setattr(Rows, "entries_of", meanwhile)
    assert "changed meanwhile" in office.fails(1, "export", id, *GOOD, "--out", out)
    assert not out.exists() and office.archive.store.accesses(id)[-1].outcome == "refused"


def test_a_copy_of_a_refusal_that_remains_is_told_when_its_receipt_forgets(office: Office) -> None:
    """There is no recording whose removal would tell of it."""
    id = unrecorded(office, **BY_KEY)
    remains, gone = (export(office, id, channel).file for channel in ("both", "caller"))
    gone.unlink()
    _change(office, id, expires_at=datetime.now(UTC))
    for words in (("--dry-run",), ()):
        told = json.loads(office.run("purge", *words, "--json").out)
        assert [(copy["id"], copy["path"]) for copy in told["copies"]] == [(id, str(remains))]
        assert told["receipts"] == 1 and told["purged"] == []
    assert office.archive.store.receipt(id).caller is None and str(remains) in office.run("show", id).out


def test_a_sealed_one_goes_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], signing: Path
) -> None:
    office = with_keys(make_sealed_office(tmp_path, capsys), signing)
    row, key = sealed_call(office), ("--identity", tmp_path / "keys" / "recordings.key")
    assert "sealed" in office.fails(1, "export", row.id, *GOOD, "--out", tmp_path / "x.vcon")
    whole, caller = (export(office, row.id, channel, *key) for channel in ("both", "caller"))
    assert np.array_equal(sound_of(whole), stereo()) and np.array_equal(sound_of(caller), stereo()[:, :1])
    assert caller.vcon["redacted"]["content_hash"] == whole.hash


def test_all_calls_of_a_person_refusals_among_them(office: Office) -> None:
    ids = {recorded(office), unrecorded(office, **BY_KEY), erased(office)}
    words = (
        "--format",
        "vcon",
        "--purpose",
        "access_request",
        "--reference",
        "1",
        "--by",
        "D",
        "--channel",
        "caller",
    )
    out = office.folder / "request"
    result = office.run("export", "--caller", CALLER, *words, "--out", out, "--yes")
    assert result.code == 0 and {path.stem for path in out.iterdir()} == ids
    for path in out.iterdir():
        check_form(Exported(path, path.read_bytes()))


# --- with others' programs ---

OTHER = os.environ.get("SIPAGENT_VCON_PYTHON", "")  # one with vcon >= 0.10 of PyPI, which needs Python 3.12
CHECK = """
import json, sys
from cryptography.x509 import load_der_x509_certificate
from base64 import b64decode, urlsafe_b64decode
from vcon import Vcon
told = []
for name in sys.argv[1:]:
    jws = json.load(open(name))
    key = load_der_x509_certificate(b64decode(jws["signatures"][0]["header"]["x5c"][0])).public_key()
    text = urlsafe_b64decode(jws["payload"] + "===").decode()
    vcon = Vcon.build_from_json(text)
    told.append([vcon.is_valid(), vcon.validate_extensions(), Vcon(jws).verify(key),
                 vcon.check_lawful_basis_permission("recording")])
print("\\n" + json.dumps(told))
"""


@pytest.mark.skipif(not OTHER, reason="SIPAGENT_VCON_PYTHON names no Python with the library vcon")
def test_the_library_vcon_reads_and_verifies_it(office: Office) -> None:
    """It knows no channel of several parties, as after a transfer: see section 4.3 of the draft."""
    kept = {kind: keep_call(office) for kind, (keep_call, *_) in KINDS.items() if "recorded" not in kind}
    kept["recorded"] = office.call().id
    files = [export(office, id, channel).file for id in kept.values() for channel in ("both", "caller")]
    done = subprocess.run([OTHER, "-c", CHECK, *files], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    for (valid, extensions, verified, granted), kind in zip(
        told, [kind for kind in kept for _ in range(2)], strict=True
    ):
        assert valid == [True, []] and verified, (kind, valid)
        assert extensions["lawful_basis"]["is_valid"] and extensions["lawful_basis"]["errors"] == []
        assert granted == (kind in ("recorded", "held", "lost", "purged"))
