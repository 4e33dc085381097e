"""An office for the tests of the command line: a configuration, real sound, and the program."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from retention.archive import Archive
from retention.records import Recording, due_date, new_id
from sipagent.__main__ import main
from tests.kept import Paths, archive, receipt, recording

CONFIG = """
[service]
name = "Test"
controller = "Test"
timezone = "Europe/Paris"
[trunk]
uri = "sip:agent@127.0.0.1"
listen = "127.0.0.1:5060"
allowed_sources = ["127.0.0.1"]
[operators]
extensions = ["sip:201@127.0.0.1:5070"]
"""
RATE = 8000
PARIS = ZoneInfo("Europe/Paris")
"""Where the office is: its days are not those of UTC, nor of the machine."""


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def faults(self) -> list[str]:
        """The lines of stderr but the one that says whose configuration something is removed by."""
        return [line for line in self.err.splitlines() if " by the configuration " not in line]


@dataclass(frozen=True)
class Office:
    """`sipagent` on its own folder."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *words: object) -> Result:
        """One command line."""
        self.capture.readouterr()
        with pytest.raises(SystemExit) as exit:
            main(["--config", str(self.folder / "config.toml"), *map(str, words)])
        out, err = self.capture.readouterr()
        assert isinstance(exit.value.code, int)
        assert "Traceback" not in err
        return Result(exit.value.code, out, err)

    def fails(self, code: int, *words: object) -> str:
        """One that must fail, with one line on stderr, which is returned, and nothing on stdout."""
        result = self.run(*words)
        assert (result.code, result.out) == (code, ""), result
        assert result.err.startswith("sipagent: ") and result.err.count("\n") == 1, result.err
        return result.err

    @property
    def archive(self) -> Archive:
        """A new connection each time, as another process has."""
        return archive(self.folder)

    def call(
        self, ago: timedelta = timedelta(hours=1), sound: NDArray[np.int16] | None = None, **changes: Any
    ) -> Recording:
        """A closed recording with its receipt; its sound is `stereo()`, or (n, 2) int16."""
        at = datetime.now(UTC) - ago
        fields: dict[str, Any] = {"id": new_id(at), "started_at": at, "duration_s": 2.0}
        fields["expires_at"] = due_date(at, "6 months")
        row = replace(recording(), **(fields | changes))
        kept = self.archive
        kept.store.add_receipt(receipt(row))
        kept.open(row)
        samples = stereo() if sound is None else sound
        soundfile.write(Paths(kept).final(row.id, "flac"), samples, RATE, subtype="PCM_16")
        return kept.close(row)


def stereo() -> NDArray[np.int16]:
    """Two seconds, 440 Hz left and 880 Hz right: (16000, 2) int16."""
    seconds = np.arange(2 * RATE) / RATE
    tones = [np.sin(2 * np.pi * hertz * seconds) * 8000 for hertz in (440, 880)]
    return np.stack(tones, axis=1).astype(np.int16)


def make_office(folder: Path, capture: pytest.CaptureFixture[str]) -> Office:
    """For a fixture."""
    (folder / "config.toml").write_text(CONFIG)
    return Office(folder, capture)
