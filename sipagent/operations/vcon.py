"""A call as a vCon (draft-ietf-vcon-vcon-core-04), signed: what is kept of it, with its sound inside.

    parties      0 the caller, then each operator, last who is responsible, by its name and number
    dialog       0 the call: its sound as a WAV in base64url; without any where nothing was recorded, or it
                 is gone; `incomplete` where nobody talked with the caller
    analysis     what is missing from the sound, how the lines were, and what listeners have filed
    attachments  0 the lawful basis (draft-howe-vcon-lawful-basis): what was decided, how and when, after
                 which notice, by which law, until when; and where the chain tells of the call

Nothing in it is made up: no transcript, no topic, no name. Where `service.legal_basis` names no basis of GDPR
article 6(1), or two, the attachment is none of that draft, for it would have to say one.

**Versions.** The same rows give the same vCon to the last byte, while the key of the year signs. Its `uuid`
(version 8, RFC 9562) has the time of the call, and a hash of what tells this version from another: the call's
id, the entries of the chain, the side; nothing of a person. So it does not name the host, as the draft would
have it. A copy of one side names nobody of the other, and points to the whole one by `uuid` and
`content_hash`, the SHA-512 of that file. The signature in it keeps anybody from trying numbers against that
hash. Where sound or people are gone, `redacted` says so without a `uuid`: no fuller version is left.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain
from secrets import token_hex
from typing import Any, BinaryIO
from uuid import UUID

from retention.archive import Archive
from retention.erase import KeptCall
from retention.purge import due
from retention.records import Access, Json, Note, reference_of, to_text
from retention.rows.chain import canonical, is_personal
from retention.signed import Signer, base64url, signed, signer_of
from retention.statistics import BRIDGED
from retention.texts import Reason
from retention.use import ACCESS_REQUEST, WITHOUT_SOUND, nothing_to_use, told_of_download
from sipagent import __version__
from sipagent.config.load import Config
from sipagent.config.tables import ServiceTable
from sipagent.languages.labels import N_
from sipagent.operations.approvals import Rules, needs_approval, rules_of
from sipagent.operations.uses import User, UseRefused, role_lacks, using

DRAFT, SYNTAX = "draft-ietf-vcon-vcon-core-04", "0.4.0"
VCON_KIND, MEDIA_TYPE = "application/vcon", "audio/x-wav"
BOTH, SIDES = "both", ("caller", "operator")
_ANONYMOUS = {"name": "anonymous"}
_PIECE = 3 << 18  # bytes; three at a time are four letters
_NUMBER, _SIP = re.compile(r"\+?[0-9*#]+"), re.compile("sips?:")
_NOTICE = re.compile(r"notice: (?P<file>.+), sha256 (?P<sha256>[0-9a-f]{64})")
_TALKED = ("connected", "transferred")
_WHY_INCOMPLETE = {"abandoned": "hung-up", "closed": "no-answer", "unavailable": "no-answer"}
_HELD = {"hold": "hold", "hold ended": "unhold"}

_ARTICLE = re.compile(
    r"\b6\b[^a-z0-9]*(?:paragraphe?|par|§)?[^a-z0-9]*1\b[^a-z0-9]*(?:point|lit|lettre|letter)?[^a-z0-9]*([a-f])\b",
    re.IGNORECASE,
)
_BASES = {  # by the letters of article 6(1), and in words
    "consent": "consent",
    "contract": r"contrac?t",
    "legal_obligation": r"legal obligation|obligation légale",
    "vital_interests": r"vital interest|intérêts? vita",
    "public_task": r"public task|public interest|official authority|intérêt public|autorité publique",
    "legitimate_interests": r"legitimate interest|intérêts? légitime",
}


def basis_of(law: str) -> str | None:
    """The one basis of GDPR article 6(1) that a text names; None for none, and for several."""
    letters = {one.lower() for one in _ARTICLE.findall(law)}
    if not letters:
        letters = {
            letter for letter, words in zip("abcdef", _BASES.values(), strict=True) if _says(law, words)
        }
    return [*_BASES]["abcdef".index(letters.pop())] if len(letters) == 1 else None


def _says(law: str, words: str) -> bool:
    return re.search(rf"\b(?:{words})", law, re.IGNORECASE) is not None


def sha512_of(pieces: Iterator[bytes]) -> str:
    """A ContentHash of the draft."""
    digest = hashlib.sha512()
    for piece in pieces:
        digest.update(piece)
    return f"sha512-{b''.join(base64url([digest.digest()])).decode()}"


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """All of an open file, from its beginning."""
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


@dataclass(frozen=True)
class CallVcon:
    """The vCons of one call as it is kept now: the whole one, and those of one side.

    `wav` opens the sound of `caller`, `operator` or `both`; it is asked only of a call that has any. None:
    whoever makes it has no key, and the sound is left out.
    """

    archive: Archive
    call: KeptCall
    service: ServiceTable
    rules: Rules
    signer: Signer
    wav: Callable[[str], AbstractContextManager[BinaryIO]] | None

    @property
    def sound(self) -> bool:
        """Whether there is any."""
        row = self.call.recording
        return row is not None and nothing_to_use(row) is None

    @property
    def _left_out(self) -> bool:
        """Whether there is sound, and none of it goes in."""
        return self.sound and self.wav is None

    def pieces(self, channel: str) -> Iterator[bytes]:
        """The signed file. Raises what reading the sound raises, StoreError."""
        content, mark = self.content(channel), token_hex(16)
        if channel != BOTH and not self._left_out:
            content["redacted"]["content_hash"] = sha512_of(self.pieces(BOTH))
        with self.wav(channel) if self.wav and self.sound else nullcontext() as file:
            if file is not None:
                more = {"content_hash": sha512_of(pieces_of(file)), "encoding": "base64url", "body": mark}
                content["dialog"][0] |= more
            before, _, behind = json.dumps(content, indent=1).encode().partition(mark.encode())
            sound = base64url(pieces_of(file)) if file is not None else ()
            yield from signed(chain((before,), sound, (behind,)), self.signer, {"uuid": content["uuid"]})

    def content(self, channel: str) -> Json:
        """The unsigned form, without the sound. Raises StoreError."""
        basis, gone = self._lawful_basis(channel), self._gone
        told: Json = {
            "vcon": SYNTAX,
            "uuid": self._uuid(channel, whole=not self._left_out),
            "extensions": ["lawful_basis"] if "lawful_basis" in basis["body"] else [],
            "created_at": to_text(self._changed_at),
        }
        less = [side for side in SIDES if channel not in (BOTH, side)]
        less += ["sound"] if self._left_out else []
        if less or gone:
            whole = {"uuid": self._uuid(BOTH, whole=True)} if less else {}
            told["redacted"] = whole | {"type": ", ".join((*less, *gone))}
        return told | {
            "parties": self._parties(channel),
            "dialog": [self._dialog(channel)],
            "analysis": [*self._analysis(channel)],
            "attachments": [basis],
        }

    # --- what is known of the call ---

    @cached_property
    def _notes(self) -> Sequence[Note]:
        return self.archive.store.notes(self.call.id)

    @cached_property
    def _entries(self) -> Json:
        """Where the chain tells of the rows: {"receipt": {"seq", "hash"}, …}."""
        found = self.archive.store.entries_of(self.call.id)
        return {kind: {"seq": entry.seq, "hash": entry.hash} for kind, entry in found.items()}

    def _first(self, name: str) -> Any:
        """A field as the receipt tells it, or else the recording."""
        found = (getattr(row, name, None) for row in (self.call.receipt, self.call.recording))
        return next((one for one in found if one is not None), None)

    @cached_property
    def _operators(self) -> list[str]:
        rows = (self.call.receipt, self.call.recording)
        return [*dict.fromkeys(one for row in rows if row for one in row.each_operator)]

    @property
    def _talked(self) -> bool:
        """Whether an operator talked with the caller."""
        receipt = self.call.receipt
        if receipt is None or self.call.recording is not None:  # which begins with the conversation
            return True
        return receipt.connected_at is not None or receipt.outcome in _TALKED

    @property
    def _nameless(self) -> bool:
        rows = {"receipt": self.call.receipt, "recording": self.call.recording}
        return not any(row and is_personal(kind, row.to_json()) for kind, row in rows.items())

    @property
    def _gone(self) -> list[str]:
        """What is not, or no longer, in any version of it."""
        sound = [] if self.sound or not self._talked else ["sound"]
        return [*sound, *(["persons"] if self._nameless else [])]

    @property
    def _changed_at(self) -> datetime:
        """When what is told was last changed."""
        times: list[datetime | None] = [self._first(name) for name in ("ended_at", "decided_at", "purged_at")]
        return max(self.call.started_at, *filter(None, times), *(note.at for note in self._notes))

    def _uuid(self, channel: str, *, whole: bool) -> str:
        which: Json = {"id": self.call.id, "channel": channel, "whole": whole, "chain": self._entries}
        which["version"] = __version__
        which["notes"] = [to_text(note.at) for note in self._notes]
        which["rules"] = [*map(str, self.rules.purposes), self.rules.period, *self._law.values()]
        drawn = int.from_bytes(hashlib.sha512(canonical(which).encode()).digest()[:16])
        milliseconds = int(self.call.started_at.timestamp() * 1000) & (1 << 48) - 1
        low = 0b10 << 62 | drawn & (1 << 62) - 1
        return str(UUID(int=milliseconds << 80 | 8 << 76 | (drawn >> 116) << 64 | low))

    @property
    def _law(self) -> Json:
        told = {"law": self.service.legal_basis, "controller": self.service.controller}
        return told | {"dpo_contact": self.service.dpo_contact, "service": self.service.name}

    # --- its parts ---

    def _parties(self, channel: str) -> list[Json]:
        caller, identity = self._first("caller"), self.call.receipt and self.call.receipt.caller_identity
        person = dict(_ANONYMOUS)
        if caller and channel != "operator":
            person = {"tel" if _NUMBER.fullmatch(caller) else "name": caller}
            person |= {"validation": identity.state if identity else "none"}
        seen = self._operators if channel != "caller" else [""] * len(self._operators)
        operators = [{"sip" if _SIP.match(one) else "name": one} if one else _ANONYMOUS for one in seen]
        if not operators and self._talked:
            operators = [_ANONYMOUS]
        called = self._first("called")
        house = {"name": self.service.controller, "validation": "none", "org": self.service.name}
        house |= {"tel": called} if called and _NUMBER.fullmatch(called) else {}
        people = [one | {"type": "person"} for one in (person, *operators)]
        return [*people, house | {"type": "organization"}]

    def _dialog(self, channel: str) -> Json:
        receipt, row = self.call.receipt, self.call.recording
        begun = self._first("answered_at") or self.call.started_at
        if self.sound and row is not None:
            taps = [one.at for one in receipt.events if one.what == "recording started"] if receipt else []
            start, seconds = min(taps, default=self._first("connected_at") or begun), row.duration_s
        else:
            ended = self._first("ended_at")
            start, seconds = begun, (ended - begun).total_seconds() if ended else None
        told: Json = {"start": to_text(start), "application": "sip"}
        told |= {} if seconds is None else {"duration": max(0.0, seconds)}
        if not self._talked:
            why = _WHY_INCOMPLETE.get(self._first("outcome"), "failed")
            return {"type": "incomplete", "disposition": why, "parties": [0]} | told
        operators = [*range(1, max(2, 1 + len(self._operators)))]
        told |= {"type": "recording", "mediatype": MEDIA_TYPE, "party_history": [*self._history()]}
        if channel == "operator":
            return told | {"parties": operators, "originator": 0} | self._file(channel)
        second = operators if len(operators) > 1 else operators[0]
        return told | {"parties": [0] if channel == "caller" else [0, second]} | self._file(channel)

    def _file(self, channel: str) -> Json:
        end = "" if channel == BOTH else f"-{channel}"
        return {"filename": f"{self.call.id}{end}.wav"} if self.sound and self.wav else {}

    def _history(self) -> Iterator[Json]:
        """Who came when, was held, and left."""

        def event(party: int, at: datetime, what: str) -> Json:
            return {"party": party, "time": to_text(at), "event": what}

        receipt = self.call.receipt
        if receipt is None:
            return
        here, events = set[int](), [one for one in receipt.events if one.what.startswith(BRIDGED)]
        if receipt.answered_at:
            here.add(0)
            yield event(0, receipt.answered_at, "join")
        if receipt.connected_at and not events:
            here.add(1)
            yield event(1, receipt.connected_at, "join")
        for one in receipt.events:
            who = one.what.removeprefix(BRIDGED)
            if one in events and who in self._operators:
                for party in here - {0}:
                    yield event(party, one.at, "drop")
                here = (here & {0}) | {1 + self._operators.index(who)}
                yield event(max(here), one.at, "join")
            elif one.what in _HELD and (one.by == "caller" or here - {0}):
                yield event(0 if one.by == "caller" else max(here), one.at, _HELD[one.what])
        if receipt.ended_at:
            yield from (event(party, receipt.ended_at, "drop") for party in sorted(here))

    def _analysis(self, channel: str) -> Iterator[Json]:
        own = {"type": "report", "dialog": 0, "vendor": "sipagent", "product": f"sipagent {__version__}"}
        as_json = own | {"mediatype": "application/json", "encoding": "json"}
        row, quality = self.call.recording, self.call.receipt and self.call.receipt.quality
        if self.sound and row is not None:
            told = row.to_json()
            missing = [one for one in told["missing"] if channel == BOTH or one["channel"] in (BOTH, channel)]
            body = {"pauses": told["pauses"], "missing": missing, "incomplete": row.incomplete}
            yield as_json | {"schema": "sipagent-missing-1", "body": body}
        if quality is not None:
            legs = {name: leg for name, leg in quality.to_json().items() if channel in (BOTH, name)}
            yield as_json | {"schema": "sipagent-quality-1", "body": legs}
        for note in self._notes:
            text = note.text if channel == BOTH and note.text else ""  # it may tell of both sides
            yield own | {
                "schema": "sipagent-note-1",
                "mediatype": "text/plain",
                "encoding": "none",
                "body": text,
            }

    def _lawful_basis(self, channel: str) -> Json:
        receipt, row = self.call.receipt, self.call.recording
        decision = self._first("decision") or "undecided"
        at = to_text(self._first("decided_at") or self._first("ended_at") or self.call.started_at)
        allowed, until = decision == "allowed", self._until
        grants = {"recording": allowed} | dict.fromkeys(self.rules.purposes, allowed and self.sound)
        basis = basis_of(self.service.legal_basis)
        body: Json = {} if basis is None else {"lawful_basis": basis}
        body |= {
            "expiration": until and to_text(until),
            "purpose_grants": [
                {"purpose": purpose, "granted": granted, "granted_at": at}
                for purpose, granted in grants.items()
            ],
            "proof_mechanisms": [self._proof(decision, at, channel)],
            "metadata": self._law
            | {
                "draft": DRAFT,
                "software": f"sipagent {__version__}",
                "id": self.call.id,
                "reference": reference_of(self.call.id),
                "outcome": receipt and receipt.outcome,
                "not_recorded_because": receipt and receipt.not_recorded_because,
                "held": bool(row and row.hold),
                "recording": row
                and {name: row.to_json()[name] for name in ("status", "bytes", "sha256", "purged_at")},
                "chain": self._entries,
            },
        }
        told = {"start": at, "party": 0, "dialog": 0, "mediatype": "application/json", "encoding": "json"}
        return {"purpose": "lawful_basis" if basis else "recording_decision", **told, "body": body}

    @property
    def _until(self) -> datetime | None:
        """Until when what is told of may be kept; None while a hold keeps it."""
        row = self.call.recording
        if self.sound and row is not None:
            return None if row.hold else due(row, self.rules.period)
        return self.call.receipt.expires_at if self.call.receipt else None

    def _proof(self, decision: str, at: str, channel: str) -> Json:
        """How it was decided, after which notice."""
        receipt = self.call.receipt
        told: Json = {"decision": decision, "notice": self._notice()}
        if receipt is not None:
            names = ["decided_by", "phase", "dtmf_method", "confidence", "notice_played_ms"]
            names += ["keyword"] if channel != "operator" else []
            told |= {name: getattr(receipt, name) for name in names}
        spoken = receipt is not None and receipt.decided_by == "voice"
        kind = "verbal_confirmation" if spoken else "external_system"
        return {"proof_type": kind, "timestamp": at, "proof_data": told}

    def _notice(self) -> Json | None:
        """What the caller heard, by its hash: of a call that was not recorded its story says it."""
        row, receipt = self.call.recording, self.call.receipt
        if row is not None and row.notice is not None:
            return row.notice.to_json()
        found = map(_NOTICE.fullmatch, (one.what for one in receipt.events) if receipt else ())
        return next((one.groupdict() for one in found if one), None)


def give_vcon(
    archive: Archive, call: KeptCall, channel: str, use: Access, *, config: Config, user: User
) -> bytes:
    """The vCon of a call for a login, with its line in the trace: without its sound, for no key is here.

    Raises UseRefused, RootError, StoreError, OSError.
    """
    row, places = call.receipt or call.recording, archive.store.places
    assert row is not None and places is not None
    rules = rules_of(config, use.at)
    with using(archive, call, use, rules) as tell:
        if (lacks := _not_for(use, rules, user)) is not None:
            raise UseRefused(lacks, others_may=True)
        made = CallVcon(archive, call, config.service, rules, signer_of(places, use.at.year), None)
        told = b"".join(made.pieces(channel))
        what = WITHOUT_SOUND if made.sound else "vCon"
        tell("done", told_of_download(f"{channel}, {what}", f"{call.id}.vcon", row))
    return told


def _not_for(use: Access, rules: Rules, user: User) -> str | None:
    if needs_approval(use, rules.grounds):
        return Reason(N_("a vCon for {purpose} is made by `sipagent export`"), purpose=repr(use.purpose))
    return None if user.any_purpose or use.purpose == ACCESS_REQUEST else role_lacks(use.purpose)
