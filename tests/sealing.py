"""An office whose recordings are sealed, with the keys of those who may listen."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nacl.pwhash import argon2id
from numpy.typing import NDArray

from media.recording.assemble import settle
from retention.records import Recording, due_date, new_id
from retention.vault import Identity, PublicKey, Strength, new_pair, read_identity, read_public
from tests.kept import Paths, receipt, recording
from tests.office import CONFIG, RATE, Office, make_office, stereo
from tests.parts import write_part

QUICK = Strength(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
PASSPHRASE = "cheval à bascule"


def make_sealed_office(folder: Path, capture: pytest.CaptureFixture[str]) -> Office:
    """One recipient, `keys/recordings`, without a passphrase."""
    office = make_office(folder, capture)
    make_pair(office, "recordings")
    name_recipients(office, "recordings")
    return office


def make_pair(office: Office, name: str, passphrase: str | None = None) -> PublicKey:
    """`keys/NAME.pub` and `.key`."""
    public, _ = new_pair(office.folder / "keys" / name, passphrase, name, strength=QUICK)
    return read_public(public)


def identity_of(office: Office, name: str) -> Identity:
    """Of a pair without a passphrase."""
    return read_identity(office.folder / "keys" / f"{name}.key", lambda: "")


def name_recipients(office: Office, *names: str) -> None:
    """Write the configuration anew."""
    paths = [f"keys/{name}.pub" for name in names]
    (office.folder / "config.toml").write_text(f"{CONFIG}[recording]\nrecipients = {paths}\n")


def sealed_call(
    office: Office,
    names: Sequence[str] = ("recordings",),
    sound: NDArray[np.int16] | None = None,
    ago: timedelta = timedelta(hours=1),
    rate: int = RATE,
    **changes: Any,
) -> Recording:
    """A closed recording, sealed to these; `sound` is (n, 2) int16."""
    at = datetime.now(UTC) - ago
    fields: dict[str, Any] = {"id": new_id(at), "started_at": at, "duration_s": 2.0}
    row = replace(recording(), **(fields | {"expires_at": due_date(at, "6 months")} | changes))
    kept = office.archive
    kept.store.add_receipt(receipt(row))
    part = kept.open(row)
    key = kept.vault.create(row.id, [read_public(office.folder / "keys" / f"{name}.pub") for name in names])
    write_sealed(part, key, stereo() if sound is None else sound, rate)
    settle(part, Paths(kept).final(row.id, "sealed"))
    return kept.close(row)


def write_sealed(part: Path, key: bytes, sound: NDArray[np.int16], rate: int = RATE) -> None:
    """A whole part; `sound` is (n, 2) int16."""
    write_part(part, [sound[first : first + rate] for first in range(0, len(sound), rate)], rate, key)
