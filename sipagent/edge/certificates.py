"""The certificates that the edge verifies callers by (RFC 8226): a folder in which each lies at HOST/PATH of
its https address, as an Identity header names it.

Kamailio reads a file of it for a call, and fetches nothing: a slow server would hold up all calls. So the
supervisor keeps the folder. What is in `trunk.identity_certificates` is copied to it. A certificate of one of
`trunk.identity_hosts` is fetched once a call has named it, and anew each day; that first call is not
verified. None of them stays once it has expired.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from retention.files import make_folder, unlink, write_whole
from retention.post import NoAnswer, get
from retention.texts import Reason, WithReason, strerror
from sipagent.edge.configuration import CERTIFICATE, MOST_ADDRESS

LOOK_S = 60.0  # between two looks at what was given
OLD_S = 86_400.0  # after which what was fetched is fetched anew
ANSWER_S = 5.0  # for a whole certificate
REST_S = 600.0  # before what could not be fetched is asked for again
MOST_BYTES = 32_000  # of a certificate with those that lead to its root
MOST_WANTED = 20  # at a time
MOST_FETCHED = 500  # a caller's network may name any path of a host that is listed


class CertificateError(WithReason, ValueError):
    """It cannot verify anything; `str()` is one line."""


def usable(pem: bytes, now: datetime) -> bytes:
    """The certificate for ES256 (RFC 8225 section 8.2) and those behind it, as PEM alone; `now`: aware.

    Raises CertificateError.
    """
    from cryptography import x509  # slow to import
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        chain = x509.load_pem_x509_certificates(pem)
        key = chain[0].public_key()
    except ValueError as wrong:
        raise CertificateError("holds no certificate") from wrong
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise CertificateError("has no key for ES256, that is of the curve P-256")
    if now >= (until := chain[0].not_valid_after_utc):
        raise CertificateError("has expired, on {0:%Y-%m-%d}", until)
    if now < (since := chain[0].not_valid_before_utc):
        raise CertificateError("begins on {0:%Y-%m-%d}", since)
    return b"".join(one.public_bytes(Encoding.PEM) for one in chain)


def lying_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files in a folder, each with its place HOST/PATH; no file that no address could name."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and len(place) <= MOST_ADDRESS
            and re.fullmatch(CERTIFICATE, place, re.ASCII | re.I)
        ):
            yield place, path


@dataclass
class Certificates:
    """`folder`: what the edge reads; `given`: what is copied to it; `hosts`: what is fetched from. `report`
    is told each fault once. All of it on one thread, which may wait for a server."""

    folder: Path
    given: Path | None
    hosts: frozenset[str]
    report: Callable[[str], None]
    ask: Callable[[str, int, float], bytes] = get
    over: Event = field(default_factory=Event)  # set: nothing more is fetched
    _wanted: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _rests: dict[str, float] = field(default_factory=dict)  # by place: until when, monotonic s

    def look(self, *, anew: bool = True) -> None:
        """Bring the folder up to date; without `anew` nothing is fetched. Raises OSError."""
        make_folder(self.folder)
        given = dict(lying_in(self.given)) if self.given else {}
        if self.given and not given:
            self._tell(Reason("{0}: holds no certificate at HOST/PATH", self.given))
        kept = {place for place, path in given.items() if self._copies(place, path)}
        for place, path in [*lying_in(self.folder)]:
            if place not in kept and (place in given or not self._stays(place, path, anew=anew)):
                unlink([path])

    def is_wanted(self, place: str) -> bool:
        """Whether `fetch` is to be called for what a call has named. Any thread."""
        if not self._is_listed(place) or place in self._wanted or len(self._wanted) >= MOST_WANTED:
            return False
        self._wanted.add(place)
        return True

    def fetch(self, place: str) -> None:
        """Get it, unless it is there, or was not to be had a while ago. Raises OSError."""
        now, known = time.monotonic(), {one for one, _ in lying_in(self.folder)}
        self._rests = {one: until for one, until in self._rests.items() if until > now}
        rests = place in self._rests or len(self._rests) + len(known) >= MOST_FETCHED
        try:
            if not (self.over.is_set() or place in known or rests):
                self._rests[place] = now + REST_S
                self._fetched(place)
        finally:
            self._wanted.discard(place)

    def _copies(self, place: str, path: Path) -> bool:
        try:
            self._keep(place, usable(path.read_bytes(), datetime.now(UTC)))
        except (CertificateError, OSError) as fault:
            said = strerror(fault) if isinstance(fault, OSError) else fault
            self._tell(Reason("{0}: {1}", path, said))
            return False
        return True

    def _stays(self, place: str, path: Path, *, anew: bool) -> bool:
        """Whether one that was fetched may still count; an old one is fetched anew where that is possible."""
        if not self._is_listed(place):
            return False
        if anew and not self.over.is_set() and time.time() - path.stat().st_mtime > OLD_S:
            self._fetched(place)
        try:
            usable(path.read_bytes(), datetime.now(UTC))
        except CertificateError:
            return False
        return True

    def _fetched(self, place: str) -> None:
        url = f"https://{place}"
        try:
            self._keep(place, usable(self.ask(url, MOST_BYTES, ANSWER_S), datetime.now(UTC)), again=True)
        except NoAnswer as silent:
            self._tell(str(silent))
        except CertificateError as wrong:
            self._tell(Reason("{0}: {1}", url, wrong))

    def _is_listed(self, place: str) -> bool:
        return place.partition("/")[0].lower() in self.hosts

    def _keep(self, place: str, pem: bytes, *, again: bool = False) -> None:
        path = self.folder / place
        if again or not path.is_file() or path.read_bytes() != pem:
            make_folder(path.parent)
            write_whole(path, pem)

    def _tell(self, fault: str) -> None:
        if fault not in self._told and len(self._told) < MOST_FETCHED:
            self._told.add(fault)
            self.report(fault)
