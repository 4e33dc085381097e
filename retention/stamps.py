"""Time stamps of the chain's head: a third party confirms how long the chain was, and its hash, at a time.

Anyone who has the database can write a whole new chain; no one can have it stamped in the past. A stamp
is `stamps/SEQ.tsr` beside the database: the authority's response as it came (RFC 3161 section 3.4, DER),
for the hash of entry SEQ itself, so that it can be verified without this program:

    openssl ts -verify -digest HASH -in stamps/SEQ.tsr -CAfile CA.pem

Only `verify_stamps` checks; a list shows what the files say. They have no personal content: no purge
removes them.

**The authority** (RFC 3161): `stamp_query` makes the question, `read_answer` tells what an answer says,
`prove` whether it is true. The proof is done by the library rfc3161-client, a separate extra, imported
when first needed.

**Where answers are kept**, by the number of the entry that each is about: `stamps/SEQ.tsr`. Where hosts
share a database, a table of it has all of them, and each host copies to its folder what the others had:
so a lost database takes none along, and openssl has its file.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retention import files
from retention.rows.chain import ChainHead
from retention.rows.rows import Rows
from retention.texts import Reason, WithReason, strerror

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampResponse

QUERY_KIND = "application/timestamp-query"  # section 3.4, over HTTP
ANSWER_LIMIT = 1 << 16  # bytes; an answer with its certificates has 1 to 8 kB
NO_LIBRARY = Reason("time stamps need a library that is not installed: pip install 'sipagent[timestamp]'")

_SHA256 = "2.16.840.1.101.3.4.2.1"
# TimeStampReq: version 1, SHA-256 with a digest to follow; all lengths are fixed (section 2.4.1)
_QUERY = bytes.fromhex("3043 020101 3031 300d 0609 608648016503040201 0500 0420")
_NONCE, _WITH_CERTIFICATES = b"\x02\x08", b"\x01\x01\xff"
_STATUS = (
    "granted",
    Reason("granted with changes"),
    "rejected",
    "waiting",
    Reason("to be revoked"),
    "revoked",
)
_CERTIFICATES = 0xA0  # [0] in SignedData, RFC 5652 section 5.1


class StampError(WithReason):
    """The time stamp is missing, or proves nothing; `str()` is one line that says why."""


@dataclass(frozen=True, slots=True)
class TimeStampToken:
    """What an answer says; true only after `prove`.

    `digest` is what was stamped (SHA-256), `at` when (UTC, whole seconds), `authority` the name in the
    signer's certificate.
    """

    digest: bytes
    at: datetime
    nonce: int | None
    authority: str
    response: "TimeStampResponse" = field(repr=False, compare=False)


def library_installed() -> bool:
    """Whether the library is installed."""
    return find_spec("rfc3161_client") is not None


def certificates(file: Path) -> list["Certificate"]:
    """The certificates in a PEM file. Raises StampError: no library, unreadable, none in it."""
    if not library_installed():
        raise StampError(NO_LIBRARY)
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise StampError("{0}: {1}", file, strerror(error)) from error
    except (ValueError, x509.InvalidVersion) as error:
        raise StampError("{0}: holds no certificates in PEM form", file) from error


def stamp_query(digest: bytes, nonce: int) -> bytes:
    """The question: a stamp on a SHA-256, with the authority's certificates; `nonce` has 63 bits."""
    return _QUERY + digest + _NONCE + nonce.to_bytes(8, "big") + _WITH_CERTIFICATES


def read_answer(answer: bytes) -> TimeStampToken:
    """What an answer says. Raises StampError: no library, malformed, not granted."""
    if not library_installed():
        raise StampError(NO_LIBRARY)
    from cryptography import x509
    from rfc3161_client import decode_timestamp_response

    try:
        response = decode_timestamp_response(_certificates_in_order(answer))
        if response.status != 0:
            raise StampError(_refusal(response))
        info = response.tst_info
        if info.message_imprint.hash_algorithm.dotted_string != _SHA256:
            raise StampError("stamps another kind of hash than SHA-256")
        return TimeStampToken(
            info.message_imprint.message, info.gen_time, info.nonce, _signer(response), response
        )
    except (ValueError, KeyError, x509.InvalidVersion) as error:
        raise StampError("is not a time stamp response") from error


def prove(
    token: TimeStampToken, digest: bytes, trusted: Sequence["Certificate"], nonce: int | None = None
) -> None:
    """Raises StampError unless `token` is for `digest`, signed by an authority that `trusted` confirms.

    The certificates must have been valid when it was made, not now (RFC 3161 section 4.3); revocation is not
    checked. `nonce` is that of the question, if known.
    """
    from cryptography import x509
    from rfc3161_client import VerificationError, VerifierBuilder

    if token.digest != digest:
        raise StampError("stamps {0}…, not {1}…", token.digest.hex()[:16], digest.hex()[:16])
    if nonce is not None and token.nonce != nonce:
        raise StampError("answers another question: its nonce differs")
    verifier = VerifierBuilder(roots=list(trusted)).build()
    try:
        verifier.verify(token.response, digest)
    except (VerificationError, ValueError, KeyError, x509.InvalidVersion) as error:
        raise StampError(_distrust(str(error))) from error


def _refusal(response: "TimeStampResponse") -> str:
    known = response.status < len(_STATUS)
    status = _STATUS[response.status] if known else Reason("status {0}", response.status)
    why = " ".join(response.status_string)
    return Reason("not granted: {0}{1}", status, f" ({repr(why[:200])[1:-1]})" if why else "")


def _signer(response: "TimeStampResponse") -> str:
    """The signer's name, from the certificate in the answer."""
    from cryptography import x509

    signed = response.signed_data
    signers = {(signer.issuer, signer.serial_number) for signer in signed.signer_infos}
    for der in signed.certificates:
        certificate = x509.load_der_x509_certificate(der)
        if (certificate.issuer, certificate.serial_number) in signers:
            common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            return str(common[0].value) if common else certificate.subject.rfc4514_string()
    raise StampError("comes without the certificate of who signed it")


def _distrust(said: str) -> str:
    """The important part of OpenSSL's message: what is wrong with the certificate, or else the signature."""
    if found := re.search(r'"Verify error: ([^"]*)"', said):
        return Reason("is signed by one whose certificate is not trusted: {0}", found[1])
    if "pkcs7" in said:
        return Reason("its signature does not fit")
    return Reason("is not trusted: {0}", said)


class _Element(NamedTuple):
    """A value of ASN.1 in DER: where it begins, where its content does, and where both end."""

    start: int
    content: int
    end: int


def _elements(der: bytes, start: int, end: int) -> Iterator[_Element]:
    while start < end:
        length, content = der[start + 1], start + 2
        if length & 0x80:
            content += length & 0x7F
            length = int.from_bytes(der[start + 2 : content], "big")
        yield _Element(start, content, content + length)
        start = content + length


def _certificates_in_order(answer: bytes) -> bytes:
    """The answer with its certificates sorted: DER requires it of a set, but authorities send any order.

    No signature covers their order, and the answer is stored unchanged.
    """
    try:
        inside = _Element(0, 0, len(answer))
        # TimeStampResp: the token: its content [0]: SignedData (RFC 3161 section 2.4.2, RFC 5652 section 3)
        for place in (0, 1, 1, 0):
            inside = list(_elements(answer, inside.content, inside.end))[place]
        found = list(_elements(answer, inside.content, inside.end))[3]
    except IndexError:
        return answer  # no token in it
    if answer[found.start] != _CERTIFICATES or found.end > len(answer):
        return answer
    each = sorted(answer[one.start : one.end] for one in _elements(answer, found.content, found.end))
    return answer[: found.content] + b"".join(each) + answer[found.end :]


_NAME = re.compile(r"([1-9]\d{0,18})\.tsr", re.ASCII)


class StampedElsewhere(StampError):
    """Another process, or another host, is having the same chain stamped at this moment."""


class FolderStamps:
    """The answers there are: files in a folder of this host. Raises OSError.

    `name` is what people call all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._folder = folder

    def seqs(self) -> list[int]:
        """The entries that were stamped, in their order."""
        if not self._folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def content(self, seq: int) -> bytes:
        """The answer about one, as it came. Raises FileNotFoundError."""
        with self.path(seq).open("rb") as file:
            return file.read(ANSWER_LIMIT)

    def path(self, seq: int) -> Path:
        """The file that it has here, or will have."""
        return self._folder / f"{seq}.tsr"

    def keep(self, seq: int, answer: bytes) -> None:
        """Keep one durably; one that is there stays."""
        if not self.path(seq).exists():
            files.make_folder(self._folder)
            files.write_whole(self.path(seq), answer)

    def share(self, good: Callable[[int, bytes], bool]) -> None:
        """Have all that are `good(seq, answer)` here, and those of here wherever hosts look for them."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else has anything stamped until the end. Raises StampedElsewhere at once."""
        files.make_folder(self._folder)
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StampedElsewhere("another process is having it stamped at this moment") from error
            yield
        finally:
            os.close(handle)


class SharedStamps(FolderStamps):
    """The table `stamps` of the database that hosts share, and the files of this one. StoreError, too."""

    def __init__(self, store: Rows, folder: Path) -> None:
        super().__init__(folder)
        self._store = store

    def seqs(self) -> list[int]:
        return sorted({*super().seqs(), *self._there()})

    def content(self, seq: int) -> bytes:
        try:
            return super().content(seq)
        except FileNotFoundError:
            rows = self._store.read("SELECT answer FROM stamps WHERE seq = ?", [seq])
            if not rows:
                raise
        return bytes(rows[0]["answer"])

    def keep(self, seq: int, answer: bytes) -> None:
        sql = "INSERT INTO stamps (seq, answer) VALUES (?, ?) ON CONFLICT DO NOTHING"
        with self._store.write():
            self._store.change(sql, [seq, answer])
        super().keep(seq, answer)

    def share(self, good: Callable[[int, bytes], bool]) -> None:
        for seq in sorted({*super().seqs()} ^ {*self._there()}):
            if good(seq, answer := self.content(seq)):
                self.keep(seq, answer)

    @contextmanager
    def alone(self) -> Iterator[None]:
        with super().alone(), self._store.alone("stamp") as alone:
            if not alone:
                raise StampedElsewhere("another host is having it stamped at this moment")
            yield

    def _there(self) -> list[int]:
        return [row["seq"] for row in self._store.read("SELECT seq FROM stamps ORDER BY seq", [])]


def stamps_of(store: Rows) -> FolderStamps | None:
    """Those of its chain; None where nothing lies beside it."""
    if store.places is None:
        return None
    folder = store.places.stamps
    return SharedStamps(store, folder) if store.shared else FolderStamps(folder)


def stamps_beside(store: Rows) -> FolderStamps:
    """Those of a database that is in a place: of all but tests."""
    kept = stamps_of(store)
    assert kept is not None
    return kept


@dataclass(frozen=True, slots=True)
class Stamped:
    """A stamp as in its file: of `hash` (hex) of entry `seq`, at `at` (UTC, whole seconds)."""

    seq: int
    hash: str
    at: datetime
    authority: str
    path: Path


@dataclass(frozen=True, slots=True)
class StampProblem:
    """What is wrong with a stamp; `name` is the name of its file, or `stamps` for all of them."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class StampReport:
    """What `verify_stamps` found."""

    good: int
    problems: tuple[StampProblem, ...]


def stamp_head(store: Rows, url: str, ca: Path) -> Stamped | None:
    """Have the present head stamped by the authority at `url`; None if it is still the last one stamped.

    A stamp that `ca` (PEM) does not confirm is not kept. Takes up to `post.WHOLE_S` seconds, without an open
    transaction. Raises StampError, StampedElsewhere; StoreError; OSError where the stamp cannot be written.
    """
    kept = stamps_beside(store)
    trusted = certificates(ca)
    with kept.alone():
        kept.share(lambda seq, answer: _is_good(answer, store.hash_of(seq), trusted))
        head, last = store.head(), newest(kept)
        if last is not None and not _is_behind(last, head):
            return None
        token, response = stamp_digest(bytes.fromhex(head.hash), url, trusted)
        if last is not None and token.at < last.at:
            raise StampError(
                "{0}: its clock is behind the last stamp's: {1}, {2}", url, _time(token.at), _time(last.at)
            )
        kept.keep(head.seq, response)
    return _stamped(head.seq, token, kept.path(head.seq))


def stamp_digest(digest: bytes, url: str, trusted: "Sequence[Certificate]") -> tuple[TimeStampToken, bytes]:
    """A stamp of a SHA-256 by the authority at `url`, and its answer. Raises StampError."""
    nonce = 1 << 62 | secrets.randbits(62)
    from retention.post import NoAnswer, post

    try:
        response = post(url, stamp_query(digest, nonce), QUERY_KIND, ANSWER_LIMIT)
    except NoAnswer as none:
        raise StampError(str(none)) from none
    try:
        token = read_answer(response)
        prove(token, digest, trusted, nonce)
    except StampError as wrong:
        raise StampError("{0}: {1}", url, wrong) from wrong
    return token, response


def proven(store: Rows, ca: Path | None) -> Callable[[], datetime | None]:
    """When the newest stamp of the chain was made, if it is valid. Call it only when needed: it takes time.

    None without a stamp, or without anything to check it with.
    """

    def last() -> datetime | None:
        if (kept := stamps_of(store)) is None or ca is None or not (seqs := kept.seqs()):
            return None
        try:
            return _verified(kept, seqs[-1], store.hash_of(seqs[-1]), certificates(ca), None).at
        except StampError:
            return None  # `verify` says why

    return last


def newest(kept: FolderStamps) -> Stamped | None:
    """The stamp of the highest entry. Raises StampError if it cannot be read."""
    seqs = kept.seqs()
    if not seqs:
        return None
    try:
        return _load(kept, seqs[-1])
    except StampError as wrong:
        raise StampError("{0}/{1}.tsr: {2}", kept.name, seqs[-1], wrong) from wrong


def each_stamp(kept: FolderStamps) -> Iterator[Stamped | StampProblem]:
    """All stamps, the newest first, unchecked. A file that cannot be read is a problem.

    Raises StampError without the library.
    """
    if not library_installed():
        raise StampError(NO_LIBRARY)
    for seq in reversed(kept.seqs()):
        try:
            yield _load(kept, seq)
        except StampError as wrong:
            yield StampProblem(f"{seq}.tsr", str(wrong))


def verify_stamps(
    kept: FolderStamps,
    hash_of: Callable[[int], str | None],
    ca: Path | None,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> StampReport:
    """Check every stamp: for the hash of its entry, signed by an authority that `ca` confirms, in order.

    `hash_of(seq)` gives the hash (hex) of an entry, None if it is missing. If nothing can be checked, because
    `ca` or the library is missing, that is the only problem. `step(done, total)` is told of progress.
    """
    seqs = kept.seqs()
    if not seqs:
        return StampReport(0, ())
    try:
        if ca is None:
            raise StampError("retention.timestamp_ca names no certificates to check them against")
        trusted = certificates(ca)
    except StampError as wrong:
        return StampReport(0, (StampProblem(kept.name, Reason("{0} not checked: {1}", len(seqs), wrong)),))
    problems: list[StampProblem] = []
    latest: Stamped | None = None
    for done, seq in enumerate(seqs, 1):
        try:
            latest = _verified(kept, seq, hash_of(seq), trusted, latest)
        except StampError as wrong:
            problems.append(StampProblem(f"{seq}.tsr", str(wrong)))
        step(done, len(seqs))
    return StampReport(len(seqs) - len(problems), tuple(problems))


# --- steps ---


def _is_behind(last: Stamped, head: ChainHead) -> bool:
    """Whether the head is now a later entry. Raises StampError if the chain is not the one that was
    stamped."""
    if last.seq > head.seq:
        raise StampError(
            "{0}: the chain ends at {1}, before what was stamped: see `verify`", last.path.name, head.seq
        )
    if last.seq == head.seq and last.hash != head.hash:
        raise StampError("{0}: the chain has another hash there: see `verify`", last.path.name)
    return last.seq < head.seq


def _verified(
    kept: FolderStamps, seq: int, hash: str | None, trusted: "Sequence[Certificate]", latest: Stamped | None
) -> Stamped:
    token = read_answer(_content(kept, seq))
    if hash is None:
        raise StampError("of {0}: the chain has no entry {1}", _time(token.at), seq)
    prove(token, bytes.fromhex(hash), trusted)
    if latest is not None and token.at < latest.at:
        raise StampError(
            "of {0}, before that of {1}, {2}", _time(token.at), latest.path.name, _time(latest.at)
        )
    return _stamped(seq, token, kept.path(seq))


def _is_good(answer: bytes, hash: str | None, trusted: "Sequence[Certificate]") -> bool:
    """Whether a stamp proves anything of this chain: no other is passed on."""
    try:
        prove(read_answer(answer), bytes.fromhex(hash or ""), trusted)
    except StampError:
        return False
    return True


def _load(kept: FolderStamps, seq: int) -> Stamped:
    return _stamped(seq, read_answer(_content(kept, seq)), kept.path(seq))


def _content(kept: FolderStamps, seq: int) -> bytes:
    try:
        return kept.content(seq)
    except OSError as error:
        raise StampError("cannot be read: {0}", strerror(error)) from error


def _stamped(seq: int, token: TimeStampToken, path: Path) -> Stamped:
    return Stamped(seq, token.digest.hex(), token.at, token.authority, path)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
