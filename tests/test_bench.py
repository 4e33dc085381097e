"""What the benches make of what they hear: what was not heard must not look as if it were."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retention.sqlite import Store
from sipagent.config.load import parse
from sipagent.softphone.rtp import LEVELS
from tests.bench import web_listeners
from tests.bench.load_mark import (
    FRAME,
    HALF,
    MARK,
    PACKET,
    PHASES,
    Heard,
    Kept,
    Stream,
    find_marks,
    first_marks,
    kept,
    marks,
)
from tests.bench.web_kept import fill_up, queries, selection_of
from tests.bench.web_listeners import Listener
from tests.office import CONFIG

MS = 1_000_000
DELAY_MS, PLACE = 30, 40
OPERATOR = 1
STATIC = Path(__file__).parent.parent / "sipagent/web/static"
RATE, ALL_S, STREAM_S = 8000, 25, 10
Payloads = np.ndarray[Any, np.dtype[np.uint8]]


def payloads(leg: int, frames: int) -> Payloads:
    """(frames, 160) bytes as the generator sends them."""
    said = np.random.default_rng(1).integers(0, 256, (frames, FRAME), dtype=np.uint8)
    for frame in range(frames):
        for half in (0, 1):
            at = half * HALF
            said[frame, at : at + MARK] = marks(np.array([leg], np.uint16), 2 * frame + half)
    return said


@pytest.mark.parametrize("shift", [0, 1, 40, 79])
def test_marks_are_found_wherever_they_begin_and_a_damaged_one_is_none(shift: int) -> None:
    said = payloads(leg=513, frames=136)
    moved = said.reshape(-1)[HALF - shift :][: FRAME * 100].reshape(-1, FRAME)
    valid, legs, halves, places = first_marks(moved[:, : HALF + MARK])
    assert valid.all() and (legs == 513).all() and (places == shift).all()
    assert (halves == 1 + 2 * np.arange(100)).all()
    moved[:, shift + 8] ^= 1
    valid, *_ = first_marks(moved[:, : HALF + MARK])
    assert not valid.any()


def test_marks_survive_the_way_through_linear_samples() -> None:
    found = find_marks(LEVELS[8][payloads(leg=7, frames=50).reshape(-1)])
    assert (found[:, 0] == np.arange(100) * HALF).all()
    assert (found[:, 1] == 7).all() and (found[:, 2] == np.arange(100)).all()


@pytest.fixture
def whole() -> Heard:
    """An operator who hears leg 3 for 6 s, each frame 30 ms late."""
    sent = np.array([(leg, frame, frame * 20 * MS) for frame in range(300) for leg in range(PHASES)])
    packets, count = np.zeros(300, PACKET), np.arange(300)
    packets["kind"], packets["port"], packets["type"], packets["ssrc"] = OPERATOR, 4000, 8, 99
    packets["sequence"] = (65_500 + count) & 0xFFFF
    packets["marked"], packets["leg"], packets["half"] = True, 3, 2 * count + 1
    packets["place"] = PLACE  # 5 ms
    packets["at_ns"] = (count * 20 + 10 - 5 + DELAY_MS) * MS
    return Heard(packets, sent.astype(np.int64), 0)


def only(heard: Heard) -> Stream:
    (stream,) = heard.streams()
    assert (stream.kind, stream.leg) == ("operator", 3)
    return stream


def test_a_stream_is_whole_or_tells_its_gaps_losses_and_holes(whole: Heard) -> None:
    stream = only(whole)
    assert stream.delays_ms == pytest.approx(np.full(len(stream.delays_ms), DELAY_MS))
    assert stream.gaps_ms.max() == pytest.approx(20) and stream.said_s > 3
    assert (stream.lost_packets, stream.skipped_s, stream.hole_ms) == (0, 0, 0)
    lossy = only(Heard(np.delete(whole.packets, [200, 201, 202, 220]), whole.sent, 0))
    assert lossy.gaps_ms.max() == pytest.approx(80)
    assert (lossy.lost_packets, lossy.hole_ms) == (4, 60) and lossy.skipped_s == pytest.approx(0.08)
    assert whole.between(0, 40 * MS).packets["half"].tolist() == [1]
    whole.packets["half"][200:] += 1  # left out by the jitter buffer: no packet is lost
    stream = only(whole)
    assert stream.lost_packets == 0 and stream.skipped_s == pytest.approx(0.01)
    whole.packets["marked"] = False  # a leg that hears nobody has no figures
    assert whole.streams() == []


@pytest.mark.parametrize(
    ("hole", "at_phone", "found"),
    [
        (0, (), (0.0, 0.0, True)),
        (5, range(199, 205), (100.0, 0.0, False)),  # the phone had it, too: the jitter buffer's
        (2, (), (40.0, 40.0, False)),  # the phone has heard it: lost by us
    ],
)
def test_a_recording_is_whole_or_tells_what_it_lacks(
    whole: Heard, hole: int, at_phone: Any, found: tuple[float, float, bool]
) -> None:
    """The caller is leg 3; the operator says the same as leg 7."""
    sound = np.stack([LEVELS[8][payloads(leg, 300).reshape(-1)] for leg in (3, 7)], axis=1)
    sound[200 * FRAME : (200 + hole) * FRAME, 0] = 0
    heard = Heard(np.delete(whole.packets, at_phone), whole.sent, 0)
    one = kept(sound, True, heard, heard.by_leg())
    assert (one.hole_ms, one.lost_ms, one.whole) == found
    assert not hole or one != Kept(6.0, True, 0.0, 0.0, 0.0)


def test_a_mark_that_is_cut_in_two_is_no_hole(whole: Heard) -> None:
    sound = np.stack([LEVELS[8][payloads(leg, 300).reshape(-1)] for leg in (3, 7)], axis=1)
    at = 200 * FRAME + 5
    sound = np.concatenate([sound[:at], np.zeros((FRAME, 2), np.int16), sound[at:]])
    one = kept(sound, True, whole, whole.by_leg())
    assert (one.hole_ms, one.lost_ms, one.whole) == (10.0, 0.0, True)


def test_what_is_looked_for_in_the_page_is_there(tmp_path: Path) -> None:
    config = parse(CONFIG, tmp_path / "config.toml")
    with Store(tmp_path / "retention.db") as store:
        fill_up(store, 30)
        first = store.recordings()
        wanted = fill_up(store, 120)
        assert store.recordings()[:30] == first
        for query in queries(wanted):
            found = store.recordings(selection_of(query.fields(0, wanted.calls[0]), config))
            assert len(found) >= query.found, query.name


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


def test_a_listener_asks_as_the_player_does(
    server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("playing.js", "sound.js"))
    for name in ("AHEAD_S", "STEP_S", "SCAN_S", "BUCKETS"):
        assert re.search(rf"\b{name} = {getattr(web_listeners, name)}\b", scripts), name
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
    nobody = Listener(1, {}, "A-1", "quality")
    nobody.start()
    assert "refused" in (nobody.finish().problem or "")
