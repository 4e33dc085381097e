"""Two hosts, a and b, whose calls are in one PostgreSQL and one store of objects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from media.recording.assemble import settle
from retention.recording_files import FileKind
from retention.records import Recording, due_date, new_id
from retention.vault import new_pair, read_public
from sipagent.agent.stored import archive_of, store_of
from sipagent.config.load import load
from tests.kept import receipt, recording
from tests.object_store import place_of
from tests.office import CONFIG, Office, stereo
from tests.peers.tsa import Authority
from tests.s3 import REGION, Moto, Weed
from tests.sealing import QUICK, write_sealed

KEYS = ("recordings", "second")


@dataclass(frozen=True)
class Pair:
    """Both, in folders of their own below `folder`; keys of who listens are in `folder / "keys"`."""

    a: Office
    b: Office
    objects: str  # the table [objects]

    @property
    def folder(self) -> Path:
        return self.a.folder.parent

    def key(self, name: str = KEYS[0]) -> tuple[str, str]:
        """The option that opens recordings."""
        return "--identity", str(self.folder / "keys" / f"{name}.key")

    def configure(self, old: str, new: str) -> None:
        """Change the configuration of both."""
        for office in (self.a, self.b):
            file = office.folder / "config.toml"
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new))


def make_pair_of(
    folder: Path,
    capture: pytest.CaptureFixture[str],
    database: str,
    store: Moto | Weed,
    tsa: Authority | None = None,
) -> Pair:
    """Hosts that have not started yet."""
    (folder / "keys").mkdir()
    for name in KEYS:
        new_pair(folder / "keys" / name, None, name, strength=QUICK)
    place = place_of(store, folder)
    objects = (
        f'[objects]\nurl = "s3://{place.bucket}/{place.prefix.rstrip("/")}"\nendpoint = "{place.endpoint}"\n'
        f'region = "{REGION}"\ncredentials_file = "{place.credentials}"\n'
    )
    stamped = "" if tsa is None else f'timestamp_url = "{tsa.url}"\ntimestamp_ca = "{tsa.ca}"\n'
    for name in "ab":
        (folder / name).mkdir()
        (folder / name / "config.toml").write_text(
            f'{CONFIG}[recording]\nrecipients = ["{folder}/keys/recordings.pub"]\n'
            f'[retention]\ndatabase = "{database}"\n{stamped}[cluster]\nhost = "{name}"\n{objects}'
        )
    return Pair(Office(folder / "a", capture), Office(folder / "b", capture), objects)


def shared_call(office: Office, ago: timedelta = timedelta(hours=1), **changes: Any) -> Recording:
    """A closed recording of two seconds, sealed to the recipients of now, where all hosts have theirs."""
    config, at = load(office.folder / "config.toml"), datetime.now(UTC) - ago
    fields: dict[str, Any] = {"id": new_id(at, None, config.host), "started_at": at, "duration_s": 2.0}
    row = replace(recording(), **(fields | {"expires_at": due_date(at, "6 months")} | changes))
    with store_of(config) as store:
        kept = archive_of(config, store)
        store.add_receipt(receipt(row))
        part = kept.open(row)
        key = kept.vault.create(row.id, [read_public(path) for path in config.recording.recipients])
        write_sealed(part, key, stereo())
        settle(part, kept.files.spool.path(row.id, FileKind.SEALED))
        return kept.close(row)


def ids(rows: Sequence[Recording]) -> list[str]:
    """Newest first, as lists have them."""
    return sorted((row.id for row in rows), reverse=True)
