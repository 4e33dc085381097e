"""The pages of compliance and of the trace: what they say of what must be done, and of what was done."""

import re
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from retention.records import Access, to_text
from retention.rows.rows import StoreError
from retention.texts import Reason
from sipagent.config.tables import AccessTable
from sipagent.languages.spoken import answering
from sipagent.web import background
from sipagent.web.background import FRESH, CommandOutcome, Commands, Due, DueLook
from sipagent.web.rights import Role
from sipagent.web.templating import markdown_html, quoted
from tests.office import Office
from tests.raising import raising
from tests.web.conftest import Asking

AT = datetime(2026, 11, 27, 20, 30, tzinfo=UTC)
HOLD = {"ground": "criminal", "reference": "2026/7", "by": "A", "approved_by": "B", "review": "2026-01-31"}


@pytest.fixture
def said(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> dict[str, CommandOutcome]:
    """What commands say, by their last word, instead of them."""
    answers: dict[str, CommandOutcome] = {}
    silent = CommandOutcome(AT, "", 1, problem="nothing is said")
    recent = lambda *words, language="en": answers.get(" ".join(words), silent)  # noqa: E731
    monkeypatch.setattr(asking.site.commands, "recent", recent)
    return answers


def ran(**fields: Any) -> CommandOutcome:
    return CommandOutcome(AT, "claire", 0, **fields)


def test_an_administrator_sees_what_check_says_alone(asking: Asking, said: dict[str, CommandOutcome]) -> None:
    late = Reason("{0} whose review is overdue: see `sipagent holds`", 2)
    wrong = [{"where": f"recording {n}", "problem": "differs"} for n in range(150)]
    whole = {"lost": [], "problems": [], "counts": {"files": 7}, "head": {"seq": 1, "hash": "abcd"}}
    last = asking.site.commands._last
    last["check"] = ran(json=[{"level": "error", "what": "holds", "detail": late}])
    last["verify"] = ran(json=whole)
    asking.login(Role.ADMINISTRATOR)
    text = asking.client.get("/compliance").text
    assert "2 whose review is overdue: see <code>sipagent holds</code>" in text
    assert "Asked by claire, answered 2026-11-27 21:30:00" in text
    assert "verify" not in text and "register" not in text and "What must be done" not in text
    asking.login(Role.OFFICER, language="fr")
    with answering("en"):  # the languages of threads do not mix
        text = asking.client.get("/compliance").text
    assert "erreur" in text and "<code>sipagent holds</code>" in text and "Documents" in text
    assert "Tout est comme il a été écrit." in text
    assert "2 dont le réexamen est en retard" in text
    last["verify"] = ran(json=whole | {"problems": wrong})
    asking.login(Role.OFFICER)
    text = asking.client.get("/compliance").text
    assert "Problems: 150" in text and text.count('<th scope="row">recording ') == 100
    assert "The first 100" in text and "abcd" in text


def looked(asking: Asking) -> str:
    """The page once somebody has looked anew."""
    asking.site.__dict__.pop("due", None)
    assert "Looking at what must be done" in asking.client.get("/compliance").text
    assert asking.site.due.wait(20)
    text = asking.client.get("/compliance").text
    assert "data-waiting" not in text
    return text


def test_what_must_be_done_is_told(
    asking: Asking, said: dict[str, CommandOutcome], web_office: Office
) -> None:
    said["status --json"] = ran(json={"last_purge": to_text(AT)})
    asking.login(Role.OFFICER)
    text = looked(asking)
    assert text.count("<dd>none</dd>") == 2 and "<dd>nothing</dd>" in text
    held = web_office.call()
    web_office.archive.change(replace(held, hold=HOLD))
    gone = datetime.now(UTC) - timedelta(days=2)
    web_office.call(ago=timedelta(days=200), expires_at=gone)
    refused = web_office.call()
    store = web_office.archive.store
    store.update_receipt(replace(store.receipt(refused.id), decision="refused", decided_by="dtmf"))
    assert 'class="bad"' not in asking.client.get("/compliance").text, "what was seen is shown for a minute"
    text = looked(asking)
    assert text.count('<strong class="bad">1</strong>') == 3
    assert f'href="/recordings/{refused.id}"' in text
    asking.site.config.metrics.__dict__["listen"] = object()
    assert "2026-11-27 21:30:00" in looked(asking)


def test_what_cannot_be_looked_at_is_told(
    asking: Asking, said: dict[str, CommandOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.login(Role.OFFICER)
    assert "the agent is set to tell nobody" in looked(asking)
    asking.site.config.metrics.__dict__["listen"] = object()
    assert "the agent does not answer" in looked(asking)
    monkeypatch.setattr(asking.site.store, "each_access", raising(StoreError("the disk is gone")))
    assert '<p role="alert">the disk is gone</p>' in looked(asking)


def test_a_button_starts_it_and_the_page_waits(
    asking: Asking, said: dict[str, CommandOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    may = threading.Event()
    commands = asking.site.commands
    whole = {"lost": [], "problems": [], "counts": {}, "head": {"seq": 1, "hash": "ab"}}

    def slow(*words: str, by: str = "", language: str = "en") -> CommandOutcome:
        assert may.wait(20)
        return ran(json=whole)

    monkeypatch.setattr(commands, "answer", slow)
    asking.login(Role.OFFICER)

    def button(name: str) -> Response:
        return asking.client.post(f"/compliance/{name}", data={"csrf": "csrf-claire"})

    answer = button("verify")
    assert (answer.status_code, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, "/compliance#verify")
    text = asking.client.get("/compliance").text
    assert "data-waiting" in text and "<code>verify</code> runs" in text and "disabled" in text
    button("check")
    assert "One of them runs already" in asking.client.get("/compliance").text
    may.set()
    assert commands.wait(20) and asking.site.due.wait(20)
    text = asking.client.get("/compliance").text
    assert "All of it is as it was written." in text and "data-waiting" not in text


def test_who_asks_again_later_is_told_anew_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    moment, seen = [AT], [Due(at=AT, late=1)]
    looking = DueLook(seen.pop, lambda: moment[0])
    assert looking.seen() is None and looking.wait(20)
    assert looking.seen() == Due(at=AT, late=1)
    moment[0] += FRESH + timedelta(seconds=1)
    seen.append(Due(at=moment[0], late=2))
    assert looking.seen() == Due(at=AT, late=1), "what was seen last, at once"
    assert looking.wait(20) and looking.seen() == Due(at=moment[0], late=2)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    moment[0] += FRESH + timedelta(seconds=1)
    looking.seen()  # an error that nobody foresaw: there is nothing to pop
    told = looking.wait(20) and looking.seen()
    assert told and "could not be looked at" in str(told.problem)


def test_the_register_and_the_notice_are_the_commands_own(
    asking: Asking, said: dict[str, CommandOutcome]
) -> None:
    text = "<!-- sipagent register: fr -->\n# A\n\n## B\n\n- **C**: `d` \\<script\\>\n- e\n"
    said["register --lang en"] = ran(text=text, aside="to be completed in the configuration: x.y")
    asking.login(Role.OFFICER)
    page = asking.client.get("/compliance/register").text
    assert "<li><strong>C</strong>: <code>d</code> &lt;script&gt;</li>\n<li>e</li>" in page
    assert "to be completed in the configuration: x.y" in page
    file = asking.client.get("/compliance/register.md")
    assert file.text == text and file.headers["content-type"].startswith("text/markdown")
    assert file.headers["content-disposition"] == 'attachment; filename="register.md"'
    notice = {
        **{"language": "en", "numbers": [], "keys": ["2"], "file": "prompts/en/notice.wav"},
        **{"duration_s": 20.3, "sample_rate": 8000, "sha256": "abcd", "words": "Hello. <b>"},
    }
    said["notice --json"] = ran(json=[notice])
    found = {"level": "warning", "what": "prompts.notice (en)", "detail": "names an example"}
    said["notice --lint --json"] = ran(json=[found])
    page = asking.client.get("/compliance/notice").text
    assert "Callers who do not hear" not in page
    access = AccessTable.model_validate({"relay": "Relais <24>", "relay_hours": {"mon": "09:00-12:00"}})
    asking.site.__dict__["config"] = asking.site.config.model_copy(update={"access": access})
    page = asking.client.get("/compliance/notice").text
    assert "Callers who do not hear" in page and "Relais &lt;24&gt;" in page and "mon 09:00-12:00" in page
    assert "English: 2" in page and "Hello. &lt;b&gt;" in page and "names an example" in page
    asking.login(Role.OFFICER, language="fr")
    assert "lundi 09:00-12:00" in asking.client.get("/compliance/notice").text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain & <b>", "<p>plain &amp; &lt;b&gt;</p>\n"),
        ("**a** \\*\\*b\\*\\* `a*b*`", "<p><strong>a</strong> **b** <code>a*b*</code></p>\n"),
        ("`` a`b `` and `<i>`", "<p><code>a`b</code> and <code>&lt;i&gt;</code></p>\n"),
        ("**open `open a\\", "<p>**open `open a\\</p>\n"),
        ("[a](https://b.example) ![c](d)", "<p>[a](https://b.example) ![c](d)</p>\n"),
        ("<https://e> <script>b</script>", "<p>&lt;https://e&gt; &lt;script&gt;b&lt;/script&gt;</p>\n"),
        ("<script>\nalert(1)\n</script>\n", ""),
        ("# a\n\n<!-- c -->\n\n- b\n\n## d", "<h2>a</h2>\n<ul>\n<li>b</li>\n</ul>\n<h3>d</h3>\n"),
    ],
)
def test_the_markdown_of_the_register_leads_nowhere_and_does_nothing(text: str, shown: str) -> None:
    assert markdown_html(text) == shown


def test_what_stands_between_backquotes() -> None:
    assert quoted("see `sipagent <x>`") == "see <code>sipagent &lt;x&gt;</code>"
    assert quoted("a ` b") == "a ` b"


# --- commands, each a process of its own ---


@pytest.fixture
def commands(web_office: Office) -> Commands:
    return Commands(web_office.folder / "config.toml", lambda: AT)


def test_a_command_that_fails_or_says_too_much_is_told_in_its_line(
    commands: Commands, web_office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = commands.answer("verify", "--json")
    assert (answer.code, answer.json) == (1, None)
    assert "no database yet" in str(answer.problem) and not str(answer.problem).startswith("sipagent")
    answer = Commands(tmp_path / "gone.toml", lambda: AT).answer("check", "--json")
    assert answer.code == 2 and "no such file" in str(answer.problem)
    monkeypatch.setattr(background, "LONGEST", 10)
    web_office.call()
    answer = commands.answer("verify", "--json")
    assert answer.json is None and "too long" in str(answer.problem)


def test_what_cannot_be_read_or_started_or_nobody_foresaw_is_told(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "odd"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    unread = "`sipagent verify` ended with 0, and what it said cannot be read"
    for said, problem in (
        (None, "No such file or directory"),
        *((odd, unread) for odd in ("{", "\\377", "[" * 5)),
        ("", "could not be run"),
    ):
        if said:
            program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
            program.chmod(0o755)
        elif said == "":
            monkeypatch.setattr(commands, "answer", raising(RuntimeError()))
        assert commands.start("verify", "claire") and commands.wait(30)
        answer = commands.last("verify")
        assert answer is not None and (answer.by, answer.json) == ("claire", None)
        assert problem in str(answer.problem)


# --- the trace ---


def test_the_newest_uses_come_first_a_page_at_a_time(asking: Asking) -> None:
    store = asking.site.store
    with store.write():
        for n in range(120):
            at = AT + timedelta(seconds=n)
            store.add_access(Access(at=at, action="play", by=f"person {n}", login="x", via="web"))
        store.add_access(Access(at=AT, action="play", outcome="refused"))
    asking.login(Role.OFFICER)
    seen: list[int] = []
    path: str | None = "/accesses"
    while path is not None:
        text = asking.client.get(path).text
        seen += map(int, re.findall(r"person (\d+), x \(page\)<", text))
        found = re.search(r'rel="next" href="([^"]*)"', text)
        path = found and found[1]
    assert seen == list(range(119, -1, -1))
    asking.login(Role.OFFICER, language="fr")
    assert "refusé" in asking.client.get("/accesses").text
    for after in ("x", "-1", "1" * 30, "٣"):
        answer = asking.client.get("/accesses", params={"after": after})
        assert answer.status_code == HTTPStatus.BAD_REQUEST
