"""Commands that show what is set up: `notice`, `hours`, `detect`, `edge`."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.frame import Samples
from media.hearing.keyword import DetectorError, Meaning, StreamPosition, Verdict
from retention.records import from_text, to_text
from sipagent.agent.admission import SHIPPED
from sipagent.cli import keyword
from sipagent.edge.files import kept_tokens, places
from sipagent.voice.detectors import UnreadableSound, hear, read_sound
from tests.office import PARIS, Office
from tests.room import Room


@pytest.fixture
def office(room: Room, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(room.folder, capsys)


def test_the_notices(room: Room, office: Office) -> None:
    room.in_english_too()
    french, english = json.loads(office.run("notice", "--json").out)
    assert (french.pop("words"), french.pop("sha256")) > ("", "")
    told = {"language": "fr", "numbers": [], "keys": [], "file": "prompts/fr/notice.wav"}
    details = french.pop("details")
    assert (details["file"], details["duration_s"]) == ("prompts/fr/details.wav", 29.973)
    assert french == told | {"duration_s": 10.532, "essential_s": 8.3, "sample_rate": 8000}
    assert (english["language"], english["numbers"]) == ("en", ["+33323063007"])
    assert english["words"].startswith("Welcome to Agglo J’écoute.")
    (office.folder / "prompts/fr/notice.txt").unlink()
    assert json.loads(office.run("notice", "--json").out)[0]["words"] is None
    assert " words    –" in office.run("notice").out  # all the same
    (office.folder / "prompts/fr/notice.wav").unlink()
    assert "notice.wav: does not exist" in office.fails(1, "notice")


def test_lint(office: Office) -> None:
    good = office.run("notice", "--lint")
    assert good.code == 0 and good.out.endswith("\n0 errors, 2 warnings\n")
    assert "says the key that refuses (9)" in good.out
    (office.folder / "prompts/fr/notice.txt").write_text("Bonjour")
    bad = office.run("notice", "--lint")
    assert bad.code == 1 and "its words do not say that the call is recorded" in bad.out
    found = office.run("notice", "--lint", "--json")
    assert found.code == 1 and {tuple(one) for one in json.loads(found.out)} == {("level", "what", "detail")}


# --- hours ---

HOURS = """\
week = { mon = "08:30-12:00,13:30-17:30", tue = "08:30-12:00", wed = "22:00-24:00", thu = "00:00-02:00" }
holidays = "FR"
closed = ["2026-12-24/2027-01-02", "2026-11-10"]"""


def lines(office: Office, *words: str) -> list[str]:
    return [" ".join(line.split()) for line in office.run("hours", *words).out.splitlines()]


def test_open_or_closed_and_why_and_until_when(room: Room, office: Office) -> None:
    room.set("hours", HOURS)
    for at, state, why, until in (
        ("2026-11-23T12:00", "closed", "hours.week: mon 08:30-12:00,13:30-17:30", "2026-11-23T13:30"),
        ("2026-11-27T00:00", "closed", "hours.week: fri closed all day", "2026-11-30T08:30"),
        ("2026-11-25T23:00", "open", "hours.week: wed 22:00-24:00", "2026-11-26T02:00"),
        ("2026-11-11T22:30", "closed", "hours.holidays: Armistice", "2026-11-12T00:00"),
        ("2026-12-25T10:00", "closed", "hours.closed: 2026-12-24/2027-01-02", "2027-01-04T08:30"),
    ):
        ends = to_text(datetime.fromisoformat(until).replace(tzinfo=PARIS))
        told = json.loads(office.run("hours", "--at", at, "--json").out)
        assert (told["open"], told["timezone"], told["until"]) == (state == "open", "Europe/Paris", ends)
        *said, last = lines(office, "--at", at)
        assert said == [f"at {at.replace('T', ' ')}:00 Europe/Paris", f"state {state}", f"why {why}"]
        assert last.startswith(f"until {until.replace('T', ' ')}:00, in ")


def test_a_day_is_named_in_the_language_that_is_read(room: Room, office: Office) -> None:
    room.set("hours", HOURS)
    said = office.run("hours", "--at", "2026-11-23T12:00", "--lang", "fr").out
    assert "lundi 08:30-12:00" in said


def test_without_a_moment_it_is_now_and_without_hours_always_open(office: Office) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    found = json.loads(office.run("hours", "--json").out)
    assert before <= from_text(found["at"]) <= datetime.now(UTC) and found["until"] is None
    assert json.loads(office.run("hours", "--at", found["at"], "--json").out) == found
    always = "why hours.week is absent: open day and night"
    assert lines(office)[1:] == ["state open", always, "until no change within two years"]
    for at in ("soon", "", "9999-12-31T23:30", "0001-01-01", "1969-12-31"):
        assert "--at: " in office.fails(2, "hours", "--at", at)


# --- detect: a detector that answers what it is told, and the shipped one ---

REFUSAL, OTHER = Verdict(Meaning.REFUSE, "je refuse", 0.97), Verdict(Meaning.OTHER, confidence=0.01)


class Answers:
    """Gives verdicts in turn, then the last one for ever; without any it fails."""

    every_ms = 100

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts)

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        if not self.verdicts:
            raise DetectorError("no memory")
        return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """1.2 s of a voice, and 0.3 s of quiet."""
    sound, rate = soundfile.read(SHIPPED / "fr/refused.wav", dtype="int16")
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.concatenate([sound[: int(1.2 * rate)], np.zeros(2400, np.int16)]), rate)
    return path


def test_a_refusal_is_known_a_moment_after_the_voice_has_ended(speech: Path) -> None:
    heard = hear(Answers(*[OTHER] * 12, REFUSAL), read_sound(speech))
    assert heard.verdict == REFUSAL and len(heard.verdicts) == 1
    assert heard.spotted_ms is not None and heard.speech_ms is not None
    assert 900 < heard.speech_ms <= 1210  # the words end where they end
    assert heard.latency_ms == heard.spotted_ms - heard.speech_ms
    assert heard.duration_s == pytest.approx(1.5)
    with pytest.raises(UnreadableSound, match="no memory"):  # a fault is not taken for silence
        hear(Answers(), read_sound(speech))


def test_a_table_and_json_and_what_cannot_be_read_after_the_others(
    office: Office, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyword, "_detector", lambda work: Answers(REFUSAL))
    (found,) = json.loads(office.run("detect", "--json", str(speech)).out)
    assert found.pop("latency_ms") >= 0 and found.pop("cpu_s") >= 0
    said = {"file": str(speech), "verdict": "refuse", "keyword": "je refuse", "confidence": 0.97}
    assert found == said | {"utterances": 1, "duration_s": 1.5}
    assert "refuse   je refuse" in office.run("detect", str(speech)).out
    ran = office.run("detect", "--json", "none.wav", str(speech))
    assert (ran.code, [one["verdict"] for one in json.loads(ran.out)]) == (1, ["refuse"])
    assert "none.wav" in ran.err and ran.err.count("\n") == 1


def test_the_shipped_head_hears_no_refusal_in_other_speech(office: Office) -> None:
    files = [str(SHIPPED / file) for file in ("fr/refused.wav", "fr/closed.wav", "en/welcome.wav")]
    for found in json.loads(office.run("detect", "--json", *files).out):
        assert found["verdict"] == "other" and found["utterances"] >= 1


# --- edge ---


def test_the_configuration_is_printed_and_nothing_is_written(office: Office) -> None:
    before = sorted(office.folder.rglob("*"))
    printed = office.run("edge")
    assert printed.code == 0 and printed.out.startswith("#!KAMAILIO\n")
    assert f'"list_file", "{office.folder}/edge/workers.list"' in printed.out
    assert sorted(office.folder.rglob("*")) == before


@pytest.mark.live
def test_it_is_written_with_all_that_it_reads_and_the_agents_secret(office: Office) -> None:
    """That is kept beside the database, wherever the configuration is written, and stays."""
    tokens = kept_tokens(places(office.folder / "edge"))
    for there in (office.folder / "own", office.folder / "other"):
        assert office.run("edge", "--write", str(there)).code == 0
        assert {path.name for path in there.iterdir()} == {
            *("kamailio.cfg", "workers.list", "sources.list", "tls.cfg", "dialogs", "mask.key")
        }
        text = (there / "kamailio.cfg").read_text()
        assert str(there / "sources.list") in text and tokens.to_edge in text and tokens.from_edge in text
        assert (there / "workers.list").read_text().endswith(" 0\n"), "nobody would activate them"
        kept = (there / "mask.key").read_text()
        office.run("edge", "--write", str(there))
        assert (there / "mask.key").read_text() == kept, "dialogs in progress would be lost"
        assert (there / "kamailio.cfg").stat().st_mode & 0o077 == 0, "it holds the key"
    assert tokens.secret not in office.run("edge").out
