"""Time stamps of the chain's head: a third party confirms how long the chain was, and its hash, at a time.

Anyone who has the database can write a whole new chain; no one can have it stamped in the past. A stamp is
`stamps/SEQ.tsr` beside the database: the authority's response as it came (RFC 3161 section 3.4, DER), for the
hash of entry SEQ itself, so that it can be verified without this program (`kept` says where else it lies):

    openssl ts -verify -digest HASH -in stamps/SEQ.tsr -CAfile CA.pem

Only `verify_stamps` checks; a list shows what the files say. They have no personal content: no purge removes
them.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retention.rows.chain import ChainHead
from retention.rows.rows import Rows
from retention.stamps import authority
from retention.stamps.authority import StampError, Token
from retention.stamps.kept import Stamps, stamps_beside, stamps_of

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


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
    trusted = authority.certificates(ca)
    with kept.alone():
        kept.share(lambda seq, answer: _is_good(answer, store.hash_of(seq), trusted))
        head, last = store.head(), newest(kept)
        if last is not None and not _is_behind(last, head):
            return None
        token, response = _stamp(head, url, trusted)
        if last is not None and token.at < last.at:
            raise StampError(
                f"{url}: its clock is behind the last stamp's: {_time(token.at)}, {_time(last.at)}"
            )
        kept.keep(head.seq, response)
    return _stamped(head.seq, token, kept.path(head.seq))


def proven(store: Rows, ca: Path | None) -> Callable[[], datetime | None]:
    """When the newest stamp of the chain was made, if it is valid. Call it only when needed: it takes time.

    None without a stamp, or without anything to check it with.
    """

    def last() -> datetime | None:
        if (kept := stamps_of(store)) is None or ca is None or not (seqs := kept.seqs()):
            return None
        try:
            return _verified(kept, seqs[-1], store.hash_of(seqs[-1]), authority.certificates(ca), None).at
        except StampError:
            return None  # `verify` says why

    return last


def newest(kept: Stamps) -> Stamped | None:
    """The stamp of the highest entry. Raises StampError if it cannot be read."""
    seqs = kept.seqs()
    if not seqs:
        return None
    try:
        return _load(kept, seqs[-1])
    except StampError as wrong:
        raise StampError(f"{kept.name}/{seqs[-1]}.tsr: {wrong}") from wrong


def stamps(kept: Stamps) -> Iterator[Stamped | StampProblem]:
    """All stamps, the newest first, unchecked. A file that cannot be read is a problem.

    Raises StampError without the library.
    """
    if not authority.installed():
        raise StampError(authority.NO_LIBRARY)
    for seq in reversed(kept.seqs()):
        try:
            yield _load(kept, seq)
        except StampError as wrong:
            yield StampProblem(f"{seq}.tsr", str(wrong))


def verify_stamps(
    kept: Stamps,
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
        trusted = authority.certificates(ca)
    except StampError as wrong:
        return StampReport(0, (StampProblem(kept.name, f"{len(seqs)} not checked: {wrong}"),))
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


def _stamp(head: ChainHead, url: str, trusted: "Sequence[Certificate]") -> tuple[Token, bytes]:
    digest, nonce = bytes.fromhex(head.hash), 1 << 62 | secrets.randbits(62)
    from retention.stamps.post import (  # imports all of HTTP, which a list of stamps does not need
        NoAnswer,
        post,
    )

    try:
        response = post(url, authority.query(digest, nonce), authority.QUERY_KIND, authority.ANSWER_LIMIT)
    except NoAnswer as none:
        raise StampError(str(none)) from none
    try:
        token = authority.read(response)
        authority.prove(token, digest, trusted, nonce)
    except StampError as wrong:
        raise StampError(f"{url}: {wrong}") from wrong
    return token, response


def _is_behind(last: Stamped, head: ChainHead) -> bool:
    """Whether the head is now a later entry. Raises StampError if the chain is not the one that was
    stamped."""
    if last.seq > head.seq:
        raise StampError(
            f"{last.path.name}: the chain ends at {head.seq}, before what was stamped: see `verify`"
        )
    if last.seq == head.seq and last.hash != head.hash:
        raise StampError(f"{last.path.name}: the chain has another hash there: see `verify`")
    return last.seq < head.seq


def _verified(
    kept: Stamps, seq: int, hash: str | None, trusted: "Sequence[Certificate]", latest: Stamped | None
) -> Stamped:
    token = authority.read(_content(kept, seq))
    if hash is None:
        raise StampError(f"of {_time(token.at)}: the chain has no entry {seq}")
    authority.prove(token, bytes.fromhex(hash), trusted)
    if latest is not None and token.at < latest.at:
        raise StampError(f"of {_time(token.at)}, before that of {latest.path.name}, {_time(latest.at)}")
    return _stamped(seq, token, kept.path(seq))


def _is_good(answer: bytes, hash: str | None, trusted: "Sequence[Certificate]") -> bool:
    """Whether a stamp proves anything of this chain: no other is passed on."""
    try:
        authority.prove(authority.read(answer), bytes.fromhex(hash or ""), trusted)
    except StampError:
        return False
    return True


def _load(kept: Stamps, seq: int) -> Stamped:
    return _stamped(seq, authority.read(_content(kept, seq)), kept.path(seq))


def _content(kept: Stamps, seq: int) -> bytes:
    try:
        return kept.content(seq)
    except OSError as error:
        raise StampError(f"cannot be read: {error.strerror}") from error


def _stamped(seq: int, token: Token, path: Path) -> Stamped:
    return Stamped(seq, token.digest.hex(), token.at, token.authority, path)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
