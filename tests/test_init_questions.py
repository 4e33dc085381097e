"""`init` at a real terminal: every question, its check, and Ctrl-C."""

import os
import pty
import re
import select
import signal
import sys
import threading
from pathlib import Path

import pytest

from retention.vault import new_pair, read_identity
from sipagent.config.load import load
from tests.loopback import ROOT

PATIENCE_S = 60.0
ENTER = ""
BY_ADDRESS = {
    "Language": ENTER,
    "Name of the service": "Allô Mairie",
    "Who is responsible": "Commune de Laon",
    "How to reach them": "mairie@laon.fr",
    "How to reach the data protection officer": "dpo@laon.fr",
    "Legal basis": ENTER,
    "Registrar": ENTER,
    "Addresses that the trunk": "192.0.2.10, 192.0.2.128/25",
    "Our address": "192.0.2.2:5060",
    "Who we are": ENTER,
    "Numbers": "03 23 06 30 06, +33323063007",
    "Operators' phones": "sip:201@192.0.2.2:5070, 202",
    "Calls at the same time": ENTER,
    "Share": ENTER,
    "Public keys": ENTER,
    "New passphrase": "quatre mots sans lien",
    "Once more": "quatre mots sans lien",
    "A number to change that answer": ENTER,
}
WITHOUT_PASSPHRASE = {
    words: said for words, said in BY_ADDRESS.items() if words not in ("New passphrase", "Once more")
}


class Terminal:
    """`sipagent init FOLDER` at a terminal of its own, whose questions end in a colon."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.said, self._unread = "", ""
        self._process, self._handle = pty.fork()
        if self._process == 0:
            os.chdir(ROOT)
            os.execv(
                sys.executable,
                [sys.executable, "-m", "sipagent", "--lang", "en", "init", *options, str(folder)],
            )
        self._alarm = threading.Timer(PATIENCE_S, os.kill, (self._process, signal.SIGKILL))
        self._alarm.start()

    def question(self) -> str | None:
        """Its next question; None at its end."""
        while not re.search(r"(?:: |\]: )$", self._unread):
            try:
                more = os.read(self._handle, 4096)
            except OSError:  # EIO: it is gone
                more = b""
            if not more:
                return None
            self._unread += more.decode()
            self.said += more.decode()
        asked, self._unread = self._unread.strip().splitlines()[-1], ""
        return asked

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, again where it came in the very moment that readline looks at no signal."""
        while not self.said.endswith("aborted\r\n"):
            self.type("\x03")
            while select.select([self._handle], [], [], 1.0)[0] and not self.said.endswith("aborted\r\n"):
                self.said += os.read(self._handle, 4096).decode()

    def end(self) -> int:
        """Its exit code, once it has ended."""
        assert self.question() is None
        _, status = os.waitpid(self._process, 0)
        self._alarm.cancel()
        os.close(self._handle)
        return os.waitstatus_to_exitcode(status)


def answer(terminal: Terminal, answers: dict[str, str | list[str]]) -> list[str]:
    """Answer every question by its first words, the next of a list each time; give the questions."""
    left = {words: list(said) if isinstance(said, list) else [said] for words, said in answers.items()}
    asked = []
    while question := terminal.question():
        (words,) = [one for one in left if question.startswith(one)] or [question]
        asked.append(question)
        terminal.type(left[words].pop(0) + "\n")
    assert not any(left.values()), left
    return asked


def test_a_trunk_by_address(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "new")
    twice: dict[str, str | list[str]] = {
        "New passphrase": ["quatre", "quatre mots sans lien", "quatre mots sans lien"],
        "Once more": ["quatre", "quatre", "quatre mots sans lien"],
    }
    asked = answer(terminal, {**BY_ADDRESS, **twice})
    assert terminal.end() == 0, terminal.said
    assert len(asked) <= 22  # a screen
    assert "the passphrase has to have 12 to 256 characters" in terminal.said
    config = load(tmp_path / "new" / "config.toml")
    assert config.service.name == "Allô Mairie" and "article 6" in config.service.legal_basis
    assert [str(one) for one in config.trunk.allowed_sources] == ["192.0.2.10/32", "192.0.2.128/25"]
    assert config.trunk.registrar is None and config.trunk.uri == "sip:agent@192.0.2.2"
    assert config.trunk.numbers == ("+33323063006", "+33323063007")
    assert config.operators.extensions == ("sip:201@192.0.2.2:5070", "sip:202@192.0.2.2:5070")
    assert config.recording.share == 0.1
    assert "The regulator accepts no systematic recording" in terminal.said
    assert read_identity(tmp_path / "new" / "keys" / "recordings.key", lambda: "quatre mots sans lien")
    assert "quatre mots sans lien" not in terminal.said


def test_a_trunk_with_registration_and_keys_that_exist(tmp_path: Path) -> None:
    public, _ = new_pair(tmp_path / "durand", None, "M. Durand")
    wanted: dict[str, str | list[str]] = {
        **WITHOUT_PASSPHRASE,
        "Language": "en",
        "Registrar": "sip:trunk.example.net",
        "User name there": "0033323063006",
        "Password there": "s3cret",
        "Numbers": ENTER,
        "Share": "1,0",
        "Why all calls": "a crisis line",
        "Public keys": str(public),
    }
    del wanted["Addresses that the trunk"]
    terminal = Terminal(tmp_path / "new")
    answer(terminal, wanted)
    assert terminal.end() == 0, terminal.said
    config = load(tmp_path / "new" / "config.toml")
    login = config.trunk_login({})
    assert login is not None and (login.username, login.password) == ("0033323063006", "s3cret")
    assert config.trunk.uri == "sip:0033323063006@trunk.example.net"
    assert (config.recording.share, config.recording.justification) == (1.0, "a crisis line")
    assert config.recording.recipients == (tmp_path / "new" / "keys" / "durand.pub",)
    assert "s3cret" not in terminal.said and not list((tmp_path / "new").rglob("*.key"))


def test_all_is_shown_before_it_is_written_and_each_answer_can_be_changed(tmp_path: Path) -> None:
    """What follows from another trunk is asked for again, with what is suggested for that one."""
    wanted: dict[str, str | list[str]] = {
        **WITHOUT_PASSPHRASE,
        "Name of the service": ["Allo Mairie", "Allô Mairie"],
        "Registrar": [ENTER, "sip:trunk.example.net"],
        "User name there": "0033323063006",
        "Password there": "s3cret",
        "Our address": ["192.0.2.2:5060", "192.0.2.2:5062"],
        "Who we are": [ENTER, ENTER],
        "A number to change that answer": ["2", "99", "7", ENTER],
    }
    terminal = Terminal(tmp_path / "new", "--no-passphrase")
    answer(terminal, wanted)
    assert terminal.end() == 0, terminal.said
    first, last = terminal.said.split("write all this")[0], terminal.said.split("write all this")[-2]
    for line in (
        *(
            "  2  Name of the service: Allo Mairie",
            "  7  Registrar of the trunk: a trunk without registration",
        ),
        *(
            " 11  Numbers of the service: 03 23 06 30 06, +33323063007",
            " 15  Public keys of who may listen: make a",
        ),
    ):
        assert line in first, line
    assert "  2  Name of the service: Allô Mairie" in last and "  9  Password there: ••••" in last
    assert "'99' is no number of these; accepted: 1 to 15" in terminal.said and "s3cret" not in terminal.said
    config = load(tmp_path / "new" / "config.toml")
    login = config.trunk_login({})
    assert login is not None and (login.username, login.password) == ("0033323063006", "s3cret")
    assert (config.service.name, config.trunk.uri) == ("Allô Mairie", "sip:0033323063006@trunk.example.net")
    assert str(config.trunk.listen) == "192.0.2.2:5062" and config.trunk.allowed_sources == ()


WRONG = (
    ("Language", "de", "'de' has no shipped prompts; accepted: fr, en"),
    ("Name of the service", "Agglo J'écoute", "is an example; accepted: yours"),
    ("Addresses that the trunk", "192.0.2.300", "'192.0.2.300' is not a network; accepted: a list of add"),
    ("Our address", "192.0.2.2", "'192.0.2.2' is not host:port; accepted: address:port such as"),
    ("Numbers", "+33323063006, 03 23 06 30 06", "is there already, as trunk.numbers[0]; accepted: each once"),
    ("Operators' phones", "201", "'201' is not a SIP URI; accepted: a list of SIP URIs"),
    ("Share", "2", "2 is out of range; accepted: a share of the calls, 0 to 1"),
    ("Share", "a tenth", "'a tenth' is not a number; accepted: a share of the calls, 0 to 1"),
    ("Public keys", "no.pub", "no.pub: No such file or directory"),
)


def test_what_is_wrong_is_said_at_once_and_asked_again_and_without_a_passphrase_none_is_asked_for(
    tmp_path: Path,
) -> None:
    typed: dict[str, str | list[str]] = {
        words: [*(wrong for question, wrong, _ in WRONG if question == words), right]
        for words, right in WITHOUT_PASSPHRASE.items()
    }
    terminal = Terminal(tmp_path / "new", "--no-passphrase")
    answer(terminal, typed)
    assert terminal.end() == 0, terminal.said
    for _, _, said in WRONG:
        assert said in terminal.said, said
    assert load(tmp_path / "new" / "config.toml").recording.share == 0.1
    assert read_identity(tmp_path / "new" / "keys" / "recordings.key", lambda: pytest.fail("asked"))


@pytest.mark.parametrize("after", ["Language", "Once more"])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, after: str) -> None:
    terminal = Terminal(tmp_path / "new")
    for words, said in BY_ADDRESS.items():
        question = terminal.question()
        assert question is not None and question.startswith(words)
        if words == after:
            break
        terminal.type(said + "\n")
    terminal.interrupt()
    assert terminal.end() == 1
    assert not (tmp_path / "new").exists()
