"""What `check` can tell of time stamps: whether they are possible, and whether they still come."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retention.rows.chain import ChainHead
from retention.rows.chain_head import ChainHeadError, read_head
from retention.rows.faults import StoreError, TryAgain
from retention.stamps import authority
from retention.stamps.authority import StampError
from retention.stamps.kept import FolderStamps, Stamps, stamps_beside
from retention.stamps.stamp import newest
from sipagent.agent.recorder.stored import is_here, is_there, store_of
from sipagent.config.finding import Finding, error, ok, warning
from sipagent.config.load import Config

LATE = timedelta(days=1)  # the agent stamps every hour


def stamp_findings(config: Config, now: datetime | None = None) -> Iterator[Finding]:
    """Look at library, certificates and newest stamp; no finding if none are configured. `now` is aware."""
    url, ca = config.retention.timestamp_url, config.retention.timestamp_ca
    if ca is None:  # then there is no url, either
        return
    if not authority.installed():
        yield error("retention.timestamp_url" if url else "retention.timestamp_ca", authority.NO_LIBRARY)
        return
    if url:
        yield ok("retention.timestamp_url", url)
    yield _certificates(ca)
    if url and is_there(config):
        yield from _kept(config, now or datetime.now(UTC))


def _certificates(file: Path) -> Finding:
    what = "retention.timestamp_ca"
    try:
        found = authority.certificates(file)
    except StampError as wrong:
        return error(what, str(wrong))
    roots = [certificate for certificate in found if certificate.issuer == certificate.subject]
    if not roots:
        return error(what, f"{file}: no root among its certificates, so no stamp can be trusted")
    return ok(what, f"{file} vouches by {', '.join(root.subject.rfc4514_string() for root in roots)}")


def _kept(config: Config, now: datetime) -> Iterator[Finding]:
    """Those of this host, or of all; where these do not answer, that has been said."""
    try:
        if is_here(config):
            yield _newest(FolderStamps(config.places.stamps), read_head(config.places.head), now)
            return
        with store_of(config) as store:
            yield _newest(stamps_beside(store), store.head(), now)
    except TryAgain:
        return
    except (StampError, ChainHeadError, StoreError, OSError) as wrong:
        yield error("stamps", str(wrong))


def _newest(kept: Stamps, head: ChainHead | None, now: datetime) -> Finding:
    """If the head moves but no stamp comes, no third party has seen it. Raises StampError, OSError."""
    last = newest(kept)
    if last is None:
        return warning("stamps", "none yet: see `sipagent stamp`")
    detail = f"the newest, of entry {last.seq}, is from {last.at:%Y-%m-%d %H:%M} UTC"
    if head is not None and head.seq > last.seq and now - last.at > LATE:
        return warning("stamps", f"{detail}, and more was written since: see `sipagent stamp`")
    return ok("stamps", detail)
