"""What the bench of the page makes of what it sees, and that its listeners ask as the player does."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from retention.sqlite import Store
from sipagent.config.load import parse
from tests.bench import web_listeners
from tests.bench.load_heard import Heard
from tests.bench.load_mark import PACKET
from tests.bench.web_client import Answer, AskingError
from tests.bench.web_crowd import between
from tests.bench.web_kept import APART, OFTEN, PAGE, fill_up
from tests.bench.web_listeners import Listener, span_of
from tests.bench.web_lists import queries, rows_in, selection_of
from tests.office import CONFIG

STATIC = Path(__file__).parent.parent / "sipagent/web/static"
RATE, ALL_S, STREAM_S = 8000, 25, 10


def answer(body: bytes = b"", **headers: str) -> Answer:
    """One of the page's."""
    return Answer(200, {name.replace("_", "-"): value for name, value in headers.items()}, (), body, 1.0)


def test_rows_are_made_once_and_more_are_older(tmp_path: Path) -> None:
    with Store(tmp_path / "retention.db") as store:
        fill_up(store, 30)
        first = store.recordings()
        fill_up(store, 50)
        more = store.recordings()
    assert [row.id for row in more[:30]] == [row.id for row in first]
    assert {one.started_at - other.started_at for one, other in pairwise(more)} == {APART}
    assert more[0].caller == OFTEN and more[1].flagged and more[2].hold


def test_what_is_looked_for_is_there(tmp_path: Path) -> None:
    config = parse(CONFIG, tmp_path / "config.toml")
    with Store(tmp_path / "retention.db") as store:
        wanted = fill_up(store, 120)
        for query in queries(wanted):
            chosen = selection_of(query.fields(0, wanted.calls[0]), config)
            found = [row.id for row in store.recordings(chosen)]
            assert len(found) >= query.found, query.name
            if query.name in ("of a day", "of a number that called once", "by reference"):
                assert wanted.calls[0].id in found or len(found) == PAGE


def test_rows_of_a_list() -> None:
    assert rows_in(answer(b'[{"id": 1}, {"id": 2}]', content_type="application/json")) == 2
    page = (
        b'<a href="/recordings/A-1">x</a> <a href="/recordings/A-1">y</a> <a href="/recordings?after=A">z</a>'
    )
    assert rows_in(answer(page, content_type="text/html; charset=utf-8")) == 1


def test_what_was_heard_in_a_part_of_the_time() -> None:
    packets = np.zeros(4, PACKET)
    packets["at_ns"] = [10, 20, 30, 40]
    whole = Heard(packets, np.zeros((0, 3), np.int64), 0)
    assert between(whole, 20, 40).packets["at_ns"].tolist() == [20, 30]


def test_a_span_is_told_in_seconds() -> None:
    span = span_of(answer(sound_span="80000-160000/28800000"), RATE)
    assert (span.first_s, span.last_s, span.all_s) == (10, 20, 3600)
    with pytest.raises(AskingError, match="no span"):
        span_of(answer(), RATE)


def test_listeners_ask_for_as_much_as_the_player() -> None:
    scripts = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("playing.js", "sound.js"))
    for name in ("AHEAD_S", "STEP_S", "SCAN_S", "BUCKETS"):
        assert re.search(rf"\b{name} = {getattr(web_listeners, name)}\b", scripts), name


class Asked(BaseHTTPRequestHandler):
    """The page of a recording of 25 s, in streams of ten."""

    asked: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/recordings/"):
            return self._answer(200, b'<section data-uses="/uses?a=1&amp;b=2" data-csrf="c">')
        first, last = (float(number) for number in re.findall(r"(?:from|to)=([\d.]+)", self.path))
        first, last = first // STREAM_S * STREAM_S, min(ALL_S, -(-last // STREAM_S) * STREAM_S)
        span = "{:.0f}-{:.0f}/{:.0f}".format(*(second * RATE for second in (first, last, ALL_S)))
        return self._answer(200, b"x" * 100, {"Sound-Span": span})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(f"{self.path} {self.headers['X-CSRF-Token']}")
        self._answer(201, b'{"sound": "/sound", "sample_rate": 8000}')

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """Its port, and what it was asked."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Asked,), {"asked": asked})) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening.server_port, asked
        listening.shutdown()
        thread.join()


def test_a_listener_asks_for_what_is_heard_and_what_is_drawn(
    server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_listeners, "AHEAD_S", 2 * ALL_S)  # so that nothing is waited for
    port, asked = server
    listener = Listener(port, {"Cookie": "a=b"}, "A-1", "quality")
    listener.start()
    told = listener.finish()
    assert told.problem is None
    assert asked[:3] == ["/recordings/A-1", "/uses?a=1&b=2 c", "/sound?from=0&to=4"]
    drawn = "/sound?from=9.996&to=69.996"  # what was heard is drawn but for a part of one of 2,400 pieces
    assert sorted(asked[3:]) == ["/sound?from=10&to=14", "/sound?from=20&to=24", drawn]
    assert (told.bytes, len(told.heard_ms), len(told.drawn_ms), told.silent_s) == (400, 2, 1, 0)
    assert told.first_ms > 0 and told.drawn_s is not None


def test_a_listener_says_what_was_refused(server: tuple[int, list[str]]) -> None:
    port, _ = server
    listener = Listener(port, {}, "A-1", "quality")
    listener.start()
    listener.over()
    assert listener.end().problem is None
    nobody = Listener(1, {}, "A-1", "quality")
    nobody.start()
    assert "refused" in (nobody.end().problem or "")
