"""The pages of compliance and of the trace: what they say of what must be done, and of what was done."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from httpx2 import Response

from retention.records import Access, to_text
from retention.rows.rows import StoreError
from retention.texts import Reason
from sipagent.languages.spoken import answering
from sipagent.web.background import FRESH, CommandOutcome, Due, DueLook
from sipagent.web.rights import Role
from sipagent.web.templating import markdown_html, quoted
from tests.office import Office
from tests.web.conftest import Asking

AT = datetime(2026, 11, 27, 20, 30, tzinfo=UTC)
HOLD = {"ground": "criminal", "reference": "2026/7", "by": "A", "approved_by": "B", "review": "2026-01-31"}


@pytest.fixture
def said(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, CommandOutcome]]:
    """What commands say, instead of them."""
    answers: dict[str, CommandOutcome] = {}

    def recent(name: str, *words: str, language: str = "en") -> CommandOutcome:
        return answers.get(name, CommandOutcome(AT, "", 1, problem=f"{name} says nothing"))

    monkeypatch.setattr(asking.site.commands, "recent", recent)
    yield answers


def last(asking: Asking, name: str, **fields: Any) -> None:
    asking.site.commands._last[name] = CommandOutcome(AT, "claire", 0, **fields)


def post(asking: Asking, name: str, **form: str) -> Response:
    return asking.client.post(f"/compliance/{name}", data={"csrf": "csrf-claire"} | form)


def test_an_administrator_sees_what_check_says_alone(asking: Asking, said: dict[str, CommandOutcome]) -> None:
    late = Reason("{0} whose review is overdue: see `sipagent holds`", 2)
    wrong = [{"where": f"recording {n}", "problem": "differs"} for n in range(150)]
    whole = {"lost": [], "problems": [], "counts": {"files": 7}, "head": {"seq": 1, "hash": "abcd"}}
    last(asking, "check", json=[{"level": "error", "what": "holds", "detail": late}])
    last(asking, "verify", json=whole)
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
    last(asking, "verify", json=whole | {"problems": wrong})
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
    said["status"] = CommandOutcome(AT, "", 0, json={"last_purge": to_text(AT)})
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
    assert "the agent tells nobody" in looked(asking)
    asking.site.config.metrics.__dict__["listen"] = object()
    assert "the agent does not answer" in looked(asking)

    def broken(*asked: Any, **how: Any) -> Any:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(asking.site.store, "each_access", broken)
    assert '<p role="alert">the disk is gone</p>' in looked(asking)


def test_who_asks_again_later_is_told_anew_and_does_not_wait() -> None:
    moment, looks = [AT], [0]

    def look() -> Due:
        looks[0] += 1
        return Due(at=moment[0], late=looks[0])

    looking = DueLook(look, lambda: moment[0])
    assert looking.seen() is None and looking.wait(20)
    assert looking.seen() == Due(at=AT, late=1)
    moment[0] += FRESH + timedelta(seconds=1)
    assert looking.seen() == Due(at=AT, late=1), "what was seen last, at once"
    assert looking.wait(20)
    assert looking.seen() == Due(at=moment[0], late=2)


def test_an_error_that_nobody_foresaw_is_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> Due:
        raise ValueError

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    looking = DueLook(look, lambda: AT)
    assert looking.seen() is None and looking.wait(20)
    seen = looking.seen()
    assert seen is not None and "could not be looked at" in str(seen.problem)


def test_a_button_starts_it_and_the_page_waits(
    asking: Asking, said: dict[str, CommandOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    may = threading.Event()
    commands = asking.site.commands
    whole = {"lost": [], "problems": [], "counts": {}, "head": {"seq": 1, "hash": "ab"}}

    def slow(*words: str, by: str = "", language: str = "en") -> CommandOutcome:
        assert may.wait(20)
        return CommandOutcome(AT, by, 0, json=whole)

    monkeypatch.setattr(commands, "answer", slow)
    asking.login(Role.OFFICER)
    answer = post(asking, "verify")
    assert (answer.status_code, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, "/compliance#verify")
    text = asking.client.get("/compliance").text
    assert "data-waiting" in text and "<code>verify</code> runs" in text and "disabled" in text
    post(asking, "check")
    assert "One of them runs already" in asking.client.get("/compliance").text
    may.set()
    assert commands.wait(20) and asking.site.due.wait(20)
    text = asking.client.get("/compliance").text
    assert "All of it is as it was written." in text and "data-waiting" not in text


def test_the_register_is_the_commands_own(asking: Asking, said: dict[str, CommandOutcome]) -> None:
    text = "<!-- sipagent register: fr -->\n# A\n\n## B\n\n- **C**: `d` \\<script\\>\n- e\n"
    said["register"] = CommandOutcome(AT, "", 0, text=text, aside="to be completed in the configuration: x.y")
    asking.login(Role.OFFICER)
    page = asking.client.get("/compliance/register").text
    listed = "<li><strong>C</strong>: <code>d</code> &lt;script&gt;</li>\n<li>e</li>"
    assert listed in page
    assert "to be completed in the configuration: x.y" in page
    file = asking.client.get("/compliance/register.md")
    assert file.text == text and file.headers["content-type"].startswith("text/markdown")
    assert file.headers["content-disposition"] == 'attachment; filename="register.md"'


def test_the_notices_words_are_shown_with_what_is_said_of_them(
    asking: Asking, said: dict[str, CommandOutcome]
) -> None:
    notice = {
        **{"language": "en", "numbers": [], "keys": ["2"], "file": "prompts/en/notice.wav"},
        **{"duration_s": 20.3, "sample_rate": 8000, "sha256": "abcd", "words": "Hello. <b>"},
    }
    said["notice"] = CommandOutcome(AT, "", 0, json=[notice])
    asking.login(Role.OFFICER)

    def recent(*words: str, language: str = "en") -> CommandOutcome:
        found = [{"level": "warning", "what": "prompts.notice (en)", "detail": "names an example"}]
        return CommandOutcome(AT, "", 0, json=found if "--lint" in words else [notice])

    asking.site.commands.recent = recent  # type: ignore[method-assign]
    page = asking.client.get("/compliance/notice").text
    assert "English: 2" in page and "Hello." in page and "names an example" in page
    assert "Hello. &lt;b&gt;" in page


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain & <b>", "plain &amp; &lt;b&gt;"),
        ("**a** \\*\\*b\\*\\*", "<strong>a</strong> **b**"),
        ("`a*b*`", "<code>a*b*</code>"),
        ("`` a`b `` and `<i>`", "<code>a`b</code> and <code>&lt;i&gt;</code>"),
        ("**open", "**open"),
        ("`open", "`open"),
        ("a\\", "a\\"),
        ("[a](https://b.example) ![c](d) <https://e>", "[a](https://b.example) ![c](d) &lt;https://e&gt;"),
        ("a <script>b</script>", "a &lt;script&gt;b&lt;/script&gt;"),
    ],
)
def test_a_line_of_the_register(line: str, shown: str) -> None:
    assert markdown_html(line) == f"<p>{shown}</p>\n"


def test_blocks_of_the_register() -> None:
    assert markdown_html("# a\n\n<!-- c -->\n\ntext\n\n- b\n- c\n\n## d") == (
        "<h2>a</h2>\n<p>text</p>\n<ul>\n<li>b</li>\n<li>c</li>\n</ul>\n<h3>d</h3>\n"
    )
    assert markdown_html("<script>\nalert(1)\n</script>\n") == ""
    assert quoted("see `sipagent <x>`") == "see <code>sipagent &lt;x&gt;</code>"
    assert quoted("a ` b") == "a ` b"


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
        seen += map(int, re.findall(r"person (\d+)<", text))
        found = re.search(r'rel="next" href="([^"]*)"', text)
        path = found and found[1]
    assert seen == list(range(119, -1, -1))
    assert "x (web)" in text
    asking.login(Role.OFFICER, language="fr")
    assert "refusé" in asking.client.get("/accesses").text
    for after in ("x", "-1", "1" * 30, "٣"):
        answer = asking.client.get("/accesses", params={"after": after})
        assert answer.status_code == HTTPStatus.BAD_REQUEST
