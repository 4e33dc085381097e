"""Where recipients are named, nobody without a private key ever gets a sound, and the calls go on as ever."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from retention.sqlite import Store
from retention.vault import new_pair
from retention.verify import Mismatch, verify
from sipagent.softphone.phone import Phone
from sipagent.softphone.rtp import RATE
from tests.conftest import AgentFactory
from tests.kept import archive_of
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.peers.agent import Json, RunningAgent
from tests.sealing import QUICK

pytestmark = pytest.mark.live

FORMATS = (b"fLaC", b"RIFF", b"OggS")
WINDOW = RATE // 5


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """The private key, on another machine; its public half lies beside it."""
    _, private = new_pair(tmp_path / "office" / "ann", None, "Ann", strength=QUICK)
    return private


@pytest.fixture
def sealing(
    agent_factory: AgentFactory, identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RunningAgent:
    """An agent that knows Ann's public key, and whose temporary files are in its folder."""
    folder = tmp_path / "agent0"
    for name in ("keys", "tmp"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    public = folder / "keys" / "ann.pub"
    public.write_bytes(identity.with_suffix(".pub").read_bytes())
    return agent_factory(recording={"recipients": ["keys/ann.pub"]})


def in_reach(agent: RunningAgent) -> dict[str, bytes]:
    """All files of its folder but the prompts, and whatever it has open, with a name or without.

    Not two ticks of silence in memory, by which the map of gaps finds the jitter buffer.
    """
    paths = list(agent.directory.rglob("*"))
    if agent.child.running:
        paths += Path(f"/proc/{agent.pid}/fd").iterdir()
    found = {}
    for path in paths:
        try:
            name = str(path.readlink() if path.is_symlink() else path)
            if stat.S_ISREG(path.stat().st_mode) and not re.match("/memfd:probe|.*/prompts/", name):
                found[name] = path.read_bytes()
        except FileNotFoundError:  # closed, or renamed, meanwhile
            continue
    return found


def sounds_in(content: bytes) -> bool:
    """Whether any 0.2 s of it, read as 16-bit samples however they lie, is one of the two voices."""
    if any(content.startswith(format) for format in FORMATS):
        return True
    wave = np.exp(-2j * np.pi * np.outer((CALLER_HZ, OPERATOR_HZ), np.arange(WINDOW)) / RATE).T
    for odd in range(min(2, len(content))):
        samples = np.frombuffer(content, "<i2", (len(content) - odd) // 2, odd).astype(np.float64)
        for channel in (samples, samples[0::2], samples[1::2]):
            windows = channel[: len(channel) // WINDOW * WINDOW].reshape(-1, WINDOW)
            if (np.abs(windows @ wave) * 2 / WINDOW / 32768 > 0.12).any():
                return True
    return False


def in_clear(agent: RunningAgent) -> list[str]:
    return [name for name, content in in_reach(agent).items() if sounds_in(content)]


def listened(agent: RunningAgent, recording: Json, identity: Path) -> NDArray[np.int16]:
    """What its recipient hears, `(n, 2)`."""
    out = identity.parent / f"{recording['id']}.wav"
    agent.cli(
        *("export", recording["id"], "--purpose", "quality", "--by", "Ann"),
        *("--out", str(out), "--identity", str(identity)),
    )
    samples, rate = soundfile.read(out, dtype="int16", always_2d=True)
    assert rate == RATE
    return np.asarray(samples)


def problems(agent: RunningAgent) -> list[Mismatch]:
    """What verification says of all that is kept, which it does without any key."""
    with Store(agent.directory / "retention.db") as store:
        return verify(archive_of(store, agent.directory / "recordings", agent.directory)).problems


def test_what_is_searched_for_is_found_where_there_is_no_seal(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    bridge = calls.connect(agent, caller_phone, operator_phone)
    calls.talk(bridge.caller, 1.5)
    found = in_clear(agent)
    assert [name for name in found if name.endswith(".part")]
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    assert str(agent.directory / recording["path"]) in in_clear(agent)
    assert sounds_in(soundfile.read(agent.directory / recording["path"], dtype="int16")[0].tobytes())


def test_a_call_is_sealed_while_it_is_on_and_after_and_its_recipient_hears_it(
    sealing: RunningAgent, caller_phone: Phone, operator_phone: Phone, identity: Path, tmp_path: Path
) -> None:
    """A stranger's key opens nothing."""
    bridge = calls.connect(sealing, caller_phone, operator_phone)
    for _ in range(4):
        calls.talk(bridge.caller, 0.7)
        assert in_clear(sealing) == []
    assert [file for file in sealing.files() if file.endswith(".part")]
    bridge.hang_up()
    (recording,) = sealing.wait_recordings()
    assert in_clear(sealing) == []
    assert recording["incomplete"] is False
    assert sorted(sealing.files()) == [f"{recording['id']}.json", f"{recording['id']}.sealed"]
    for name in (".sealed", ".json"):  # what leads to the caller is sealed, too
        file = (sealing.directory / recording["path"]).with_suffix(name)
        assert b"612345678" not in file.read_bytes()
    sound = listened(sealing, recording, identity)
    calls.assert_both_heard(sound)
    assert len(sound) / RATE == pytest.approx(recording["duration_s"], abs=0.001)
    assert problems(sealing) == []
    _, other = new_pair(tmp_path / "other", None, "Eve", strength=QUICK)
    out = tmp_path / "eve.wav"
    words = ("export", recording["id"], "--purpose", "quality", "--by", "Eve", "--out", str(out))
    for identity_of_eve in ((), ("--identity", str(other))):
        sealing.cli(*words, *identity_of_eve, code=1)
    assert not out.exists()


def test_a_power_cut_leaves_what_its_recipient_can_hear(
    sealing: RunningAgent, caller_phone: Phone, operator_phone: Phone, identity: Path
) -> None:
    """kill -9: the next start finishes it without any private key, marked incomplete."""
    bridge = calls.connect(sealing, caller_phone, operator_phone)
    calls.talk(bridge.caller, 3.0)
    sealing.kill()
    assert in_clear(sealing) == []
    sealing.start()
    (recording,) = sealing.wait_recordings()
    assert recording["incomplete"] is True
    assert sorted(sealing.files()) == [f"{recording['id']}.json", f"{recording['id']}.sealed"]
    assert in_clear(sealing) == []
    sound = listened(sealing, recording, identity)
    assert len(sound) / RATE > 2.0
    calls.assert_both_heard(sound)
    assert problems(sealing) == []
    bridge.operator.end()
    bridge.caller.end()


def test_a_refusal_in_the_call_takes_part_and_key(
    sealing: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    vault = sealing.directory / "vault"
    bridge = calls.connect(sealing, caller_phone, operator_phone)
    sealing.wait_part()
    assert len(list(vault.iterdir())) == 1
    bridge.caller.press("9", ms=100)
    sealing.wait_recordings(status="erased")
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    assert (sealing.files(), list(vault.iterdir())) == ([], [])
    bridge.hang_up()
    (receipt,) = sealing.wait_receipts()
    assert receipt["decision"] == "refused"
    assert (sealing.files(), list(vault.iterdir()), in_clear(sealing)) == ([], [], [])


@pytest.mark.parametrize("content", [None, "not a key\n"], ids=["missing", "wrong"])
def test_without_the_public_key_the_call_goes_on_unrecorded(
    sealing: RunningAgent, caller_phone: Phone, operator_phone: Phone, content: str | None, identity: Path
) -> None:
    """Never in clear for want of a key; put back while the agent runs, it seals the next call."""
    key = sealing.directory / "keys" / "ann.pub"
    key.unlink()
    if content is not None:
        key.write_text(content)
    bridge = calls.connect(sealing, caller_phone, operator_phone)
    alert = sealing.wait_for("alert")
    assert str(key) in alert["reason"]
    calls.talk(bridge.caller, 1.0)
    assert in_clear(sealing) == []
    calls.hears_each_other(bridge)
    bridge.hang_up()
    (receipt,) = sealing.wait_receipts()
    assert calls.of(receipt, "outcome", "decided_by") == ["connected", "recorder_fault"]
    sealing.wait_recordings(status="failed")
    assert sealing.files() == []
    assert not [path for path in sealing.directory.rglob("vault/*")]
    operator_phone.skip_calls()
    key.write_bytes(identity.with_suffix(".pub").read_bytes())
    bridge = calls.connect(sealing, caller_phone, operator_phone)
    calls.talk(bridge.caller, 2.0)
    bridge.hang_up()
    (recording,) = sealing.wait_recordings()
    calls.assert_both_heard(listened(sealing, recording, identity))
