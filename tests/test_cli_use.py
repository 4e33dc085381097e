import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from retention.purge import Terms, purge
from retention.records import new_id
from retention.use import known_copies
from sipagent.cli import use as cli_sound
from sipagent.cli.program import Failure
from sipagent.cli.use import RecordingSound
from tests.kept import START, Paths, bytes_under, remove
from tests.office import Office, make_office, stereo


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


GOOD = ("--purpose", "quality", "--by", "Durand")


def outcomes(office: Office, id: str) -> list[tuple[str, str]]:
    return [(use.action, use.outcome) for use in office.archive.store.accesses(id)]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_a_copy_is_the_recording(office: Office, suffix: str) -> None:
    row, out = office.call(), office.folder / f"copy{suffix}"
    result = office.run("export", row.id, *GOOD, "--out", out)
    assert (result.code, result.out, result.err) == (0, f"{out}\n", "")
    samples, rate = soundfile.read(out, dtype="int16")
    assert rate == 8000 and np.array_equal(samples, stereo())
    assert out.stat().st_mode & 0o777 == 0o600
    (use,) = office.archive.store.accesses(row.id)
    assert (use.action, use.purpose, use.by, use.outcome) == ("export", "quality", "Durand", "done")
    assert use.detail == f'both to "{out}"' and use.system_user
    assert [copy.path for copy in known_copies(office.archive.store, row.id) if copy.exists] == [str(out)]


def test_what_goes_while_it_is_copied_leaves_no_copy(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge that did not know of the copy could not name it."""
    row, out, write = office.call(), office.folder / "copy.wav", cli_sound.write

    def meanwhile(sound: RecordingSound, descriptor: int, format: str) -> None:
        write(sound, descriptor, format)
        assert remove(office.archive, row.id, row.expires_at)

    monkeypatch.setattr(cli_sound, "write", meanwhile)
    assert "it is already purged" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    assert not out.exists() and outcomes(office, row.id) == [("export", "refused")]


def test_what_is_no_purpose_is_not_kept_for_ever(office: Office) -> None:
    """The chain keeps purposes: nobody's name may get there."""
    row, out = office.call(), office.folder / "copy.wav"
    office.fails(1, "export", row.id, "--purpose", "for Jane Roe", "--by", "Durand", "--out", out)
    (use,) = office.archive.store.accesses(row.id)
    assert (use.purpose, use.outcome) == (None, "refused") and "for Jane Roe" in (use.detail or "")
    office.archive.store.forget_accesses(datetime.now(UTC) + timedelta(days=1))
    assert b"Jane Roe" in bytes_under(office.folder)  # of what is kept the names are kept
    remove(office.archive, row.id, row.expires_at)
    office.archive.store.forget_accesses(datetime.now(UTC) + timedelta(days=1))
    assert b"Jane Roe" not in bytes_under(office.folder)


@pytest.mark.parametrize(("channel", "index"), [("caller", 0), ("operator", 1)])
def test_one_side_alone(office: Office, channel: str, index: int) -> None:
    row, out = office.call(), office.folder / "copy.wav"
    office.run("export", row.id, *GOOD, "--out", out, "--channel", channel)
    samples, _ = soundfile.read(out, dtype="int16")
    assert np.array_equal(samples, stereo()[:, index])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a purpose is needed; accepted: statistics, quality, organisation, access_request"),
        (["--purpose", "curiosity", "--by", "Durand"], "'curiosity' is not listed"),
        (["--purpose", "quality"], "--by"),
        (["--purpose", "access_request", "--by", "Durand"], "--reference"),
    ],
)
@pytest.mark.parametrize("action", ["export", "play"])
def test_a_refused_use_leaves_its_line(office: Office, action: str, words: list[str], said: str) -> None:
    row, out = office.call(), office.folder / "copy.wav"
    target = ["--out", str(out)] if action == "export" else []
    assert said in office.fails(1, action, row.id, *words, *target)
    assert not out.exists()
    (use,) = office.archive.store.accesses(row.id)
    assert (use.action, use.outcome) == (action, "refused") and said in (use.detail or "")


def test_an_access_request_with_its_reference(office: Office) -> None:
    row, out = office.call(), office.folder / "copy.wav"
    words = ("--purpose", "access_request", "--by", "Durand", "--reference", "2026-118", "--out", out)
    assert office.run("export", row.id, *words).code == 0
    assert office.archive.store.accesses(row.id)[0].reference == "2026-118"


def test_the_officer_decides_which_side_an_access_request_gets(office: Office) -> None:
    """Article 15(3) speaks for both, 15(4) for the operator: the program takes no side without a word."""
    row, out = office.call(), office.folder / "copy.wav"
    words = ("--purpose", "access_request", "--by", "Durand", "--reference", "2026-118", "--out", out)
    unchosen = office.run("export", row.id, *words)
    assert (unchosen.code, unchosen.out) == (0, f"{out}\n")
    assert "the copy holds both sides" in unchosen.err and "for the data protection officer" in unchosen.err
    for channel in ("both", "caller"):
        assert office.run("export", row.id, *words, "--force", "--channel", channel).err == ""
    said = " ".join(office.run("export", "--help").out.split())
    assert "the data protection officer decides" in said and "what a person who asks for it may" not in said
    assert "article 15(3)" in said and "article 15(4)" in said


def test_nothing_is_overwritten_unasked(office: Office) -> None:
    row, out = office.call(), office.folder / "copy.wav"
    out.write_text("precious")
    assert "exists; --force" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    assert out.read_text() == "precious"
    assert office.run("export", row.id, *GOOD, "--out", out, "--force").code == 0
    assert outcomes(office, row.id) == [("export", "refused"), ("export", "done")]


def test_where_a_copy_cannot_go(office: Office) -> None:
    row = office.call()
    among = office.folder / "recordings" / "copy.wav"
    assert "among the recordings" in office.fails(1, "export", row.id, *GOOD, "--out", among)
    nowhere = office.folder / "nowhere" / "copy.wav"
    assert "is not a directory" in office.fails(1, "export", row.id, *GOOD, "--out", nowhere)
    assert "not named .wav or .flac" in office.fails(2, "export", row.id, *GOOD, "--out", "copy.mp3")
    assert "--out" in office.fails(2, "export", row.id, *GOOD)


def test_a_changed_file_is_not_handed_out(office: Office) -> None:
    row, out = office.call(), office.folder / "copy.wav"
    file = Paths(office.archive).final(row.id, "flac")
    file.write_bytes(file.read_bytes()[:-1])
    assert "its hash differs" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    file.unlink()
    assert "its file is missing" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    assert outcomes(office, row.id) == [("export", "failed")] * 2
    assert list(office.folder.glob("*copy*")) == []


def test_a_copy_that_fails_leaves_no_half(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row, out = office.call(), office.folder / "copy.wav"

    def full(sound: RecordingSound, descriptor: int, format: str) -> None:
        os.write(descriptor, b"half")
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr(cli_sound, "write", full)
    assert "No space left" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    assert outcomes(office, row.id) == [("export", "failed")]
    assert list(office.folder.glob("*copy*")) == []


def test_what_is_not_there(office: Office) -> None:
    id, out = new_id(START), office.folder / "copy.wav"
    assert f"{id}: no such id" in office.fails(1, "export", id, *GOOD, "--out", out)
    row = office.call()
    purge(
        office.archive,
        row.expires_at,
        Terms(period="6 months", receipts_period="6 months", analysis_period="1 year"),
    )
    assert "it is already purged (" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    assert "it is already purged (" in office.fails(1, "play", row.id, *GOOD)


def test_a_file_named_after_the_caller_does_not_outlive_the_purge(office: Office) -> None:
    row = office.call()
    out = office.folder / "0612345678.wav"
    assert office.run("export", row.id, *GOOD, "--out", out).code == 0
    out.unlink()
    purge(
        office.archive,
        row.expires_at,
        Terms(period="6 months", receipts_period="6 months", analysis_period="1 year"),
    )
    assert b"12345678" not in (office.folder / "retention.db").read_bytes()


def test_play_is_traced_before_it_is_heard(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()
    heard = []

    def play(sound: RecordingSound) -> None:
        heard.append(np.concatenate(list(sound.blocks())))
        assert outcomes(office, row.id) == [("play", "begun")]

    monkeypatch.setattr(cli_sound, "play", play)
    assert office.run("play", row.id, *GOOD, "--channel", "caller").code == 0
    assert outcomes(office, row.id) == [("play", "begun"), ("play", "done")]
    assert np.array_equal(heard[0][:, 0], stereo()[:, 0])


def test_no_sound_card(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()

    def play(sound: RecordingSound) -> None:
        raise Failure("no way to a sound card")

    monkeypatch.setattr(cli_sound, "play", play)
    assert "no way to a sound card" in office.fails(1, "play", row.id, *GOOD)
    assert outcomes(office, row.id) == [("play", "begun"), ("play", "failed")]
    sheet = office.folder / "sheet.txt"
    sheet.write_text("Polite.")
    line = office.fails(1, "note", row.id, "--by", "Durand", "--text-file", sheet)
    assert "nobody has listened to it" in line


def test_who_stops_listening_has_listened(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()

    def play(sound: RecordingSound) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_sound, "play", play)
    assert office.run("play", row.id, *GOOD).code == 1
    assert outcomes(office, row.id) == [("play", "begun"), ("play", "done")]
    assert office.archive.store.accesses(row.id)[-1].detail == "both, stopped before its end"


def test_what_is_purged_while_it_is_heard_was_heard(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()
    monkeypatch.setattr(cli_sound, "play", lambda sound: remove(office.archive, row.id, row.expires_at))
    assert office.run("play", row.id, *GOOD).code == 0
    assert outcomes(office, row.id) == [("play", "begun"), ("play", "done")]


def test_the_clock_of_the_trace(office: Office) -> None:
    row, before = office.call(), datetime.now(UTC)
    office.run("export", row.id, *GOOD, "--out", office.folder / "copy.wav")
    assert abs((office.archive.store.accesses(row.id)[0].at - before).total_seconds()) < 600
