"""All recordings of a person at once: `export --caller`. (`delete --caller`: test_cli_delete.)"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sipagent.cli.options import unlock
from tests.kept import CALLER, Paths, receipt, recording, remove
from tests.office import Office, make_office, stereo
from tests.sealing import make_sealed_office, sealed_call
from tests.test_cli_delete import Keyboard

ASKED = ("--purpose", "access_request", "--by", "Durand", "--reference", "2026-118")
FROM = ("export", "--caller", "06 12 34 56 78", *ASKED)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def test_all_of_a_caller_go_into_a_folder(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [office.call(timedelta(hours=n)) for n in (3, 2, 1)]
    other, gone = office.call(caller="+33612345679"), office.call()
    assert remove(office.archive, gone.id, gone.expires_at)
    refused = replace(receipt(recording(caller=CALLER)), recording_id=None, decision="refused")
    office.archive.store.add_receipt(refused)
    out = office.folder / "request"

    monkeypatch.setattr("sys.stdin", Keyboard("n\n"))
    result = office.run(*FROM, "--out", out)
    assert (result.code, result.out) == (1, "") and not out.exists()
    assert f"Copy 3 recordings of 06 12 34 56 78 into {out}? [y/N]" in result.err
    assert refused.id in result.err and other.id not in result.err
    assert [office.archive.store.accesses(row.id) for row in rows] == [[]] * 3

    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    result = office.run(*FROM, "--out", out, "--channel", "caller")
    assert result.code == 0 and out.stat().st_mode & 0o777 == 0o700
    assert result.out.splitlines() == [str(out / f"{row.id}.flac") for row in rows]
    assert sorted(path.name for path in out.iterdir()) == [f"{row.id}.flac" for row in rows]
    samples, _ = soundfile.read(out / f"{rows[0].id}.flac", dtype="int16")
    assert np.array_equal(samples, stereo()[:, 0])
    for row in rows:
        (use,) = office.archive.store.accesses(row.id)
        assert (use.action, use.outcome, use.reference) == ("export", "done", "2026-118")


def test_what_cannot_be_copied_does_not_stop_the_others(office: Office) -> None:
    rows = [office.call(timedelta(hours=n)) for n in (3, 2)]
    Paths(office.archive).final(rows[0].id, "flac").unlink()
    line = (result := office.run(*FROM, "--out", office.folder / "request", "--yes")).err
    assert result.code == 1 and f"{rows[0].id}: its file is missing" in line and line.count("\n") == 1
    assert result.out == f"{office.folder / 'request' / rows[1].id}.flac\n"
    result = office.run(*FROM, "--out", office.folder / "request", "--yes")
    assert "exists; --force replaces it" in result.err
    assert "is among the recordings" in office.run(*FROM, "--out", office.folder / "recordings", "--yes").err


def test_nobody_can_be_asked(office: Office) -> None:
    row = office.call()
    result = office.run(*FROM, "--out", office.folder / "request")
    assert result.code == 1 and "nobody can be asked here; accepted: --yes, or a terminal" in result.err
    assert office.archive.store.accesses(row.id) == []


def test_what_does_not_go_together(office: Office) -> None:
    row, file = office.call(), office.folder / "copy.wav"
    file.touch()
    assert "is not a folder" in office.fails(2, *FROM, "--out", file)
    (office.folder / "folder.wav").mkdir()
    for out in ("copies", office.folder / "folder.wav"):
        line = office.fails(2, "export", row.id, *ASKED, "--out", out)
        assert "is not named .wav or .flac" in line
    assert "both are given" in office.fails(2, *FROM, row.id, "--out", file)
    assert "neither is given" in office.fails(2, "export", *ASKED, "--out", file)
    line = office.fails(1, "export", "--caller", "+33612345670", *ASKED, "--out", office.folder / "x")
    assert "no call of this caller is kept" in line
    assert remove(office.archive, row.id, row.expires_at)
    line = office.fails(1, *FROM, "--out", office.folder / "x", "--yes")
    assert "no recording of this caller is there" in line


def test_a_passphrase_is_asked_for_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    office = make_sealed_office(tmp_path, capsys)
    rows = [sealed_call(office) for _ in range(2)]
    asked: list[Path] = []

    def once(keyfile: Path, passphrase_file: Path | None) -> object:
        asked.append(keyfile)
        return unlock(keyfile, passphrase_file)

    monkeypatch.setattr("sipagent.cli.use.unlock", once)
    key = office.folder / "keys" / "recordings.key"
    result = office.run(*FROM, "--out", office.folder / "request", "--yes", "--identity", key)
    assert (result.code, len(result.out.splitlines()), len(asked)) == (0, len(rows), 1), result
