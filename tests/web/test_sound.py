"""What the server gives of stored sound: spans as chunks, bytes by Range, and nothing that is not there."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from media.recording.chunks import Kind, open_all, read_part
from retention.records import Recording
from sipagent.web.guard import guarded
from sipagent.web.rights import Right
from sipagent.web.sound import LONGEST_S, SPAN, SoundError, Sounds, sent
from tests.kept import Paths, remove
from tests.office import RATE, Office
from tests.raising import raising
from tests.sealing import identity_of, make_sealed_office, sealed_call
from tests.web.conftest import asked_at
from tests.web.listening import noise


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_sealed_office(tmp_path, capsys)


@pytest.fixture
def ask(office: Office) -> Iterator[Callable[..., Any]]:
    """Asks for the sound of a recording: `ask(id, query, **headers)`."""
    with asked_at(office) as asking:

        def sound(request: Request) -> Response:
            row = asking.site.store.recording(request.path_params["id"])
            return sent(request, asking.site.sounds, row)

        app = asking.client.app
        assert isinstance(app, Starlette)
        app.router.routes.insert(0, Route("/sound/{id}", guarded(sound, Right.ANYBODY), name="sound"))
        yield lambda id, query="", **headers: asking.client.get(f"/sound/{id}?{query}", headers=headers)


def chunks(content: bytes, folder: Path, key: bytes | None = None) -> list[Any]:
    (folder / "span").write_bytes(content)
    found = read_part(folder / "span")
    return list(found if key is None else open_all(found, key))


def key_of(office: Office, row: Recording) -> bytes:
    return office.archive.vault.key(row.id, identity_of(office, "recordings"))


def test_a_span_of_a_sealed_recording_opens_alone(
    office: Office, ask: Callable[..., Any], tmp_path: Path
) -> None:
    sound = noise(35)
    row = sealed_call(office, sound=sound)
    answer = ask(row.id, "from=12&to=21.5")
    assert answer.headers[SPAN] == f"{10 * RATE}-{30 * RATE}/{35 * RATE}"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["cache-control"] == "no-store"
    given = np.concatenate([chunk.samples for chunk in chunks(answer.content, tmp_path, key_of(office, row))])
    assert np.array_equal(given, sound[10 * RATE : 30 * RATE])


def test_a_span_in_clear_is_made_of_seconds(office: Office, ask: Callable[..., Any], tmp_path: Path) -> None:
    sound = noise(7.3)
    row = office.call(sound=sound)
    answer = ask(row.id, "from=2.5&to=4.1")
    assert answer.headers[SPAN] == f"{2 * RATE}-{5 * RATE}/{int(7.3 * RATE)}"
    given = np.concatenate([chunk.samples for chunk in chunks(answer.content, tmp_path)])
    assert np.array_equal(given, sound[2 * RATE : 5 * RATE])
    last = chunks(ask(row.id, "from=7&to=9").content, tmp_path)
    assert [chunk.kind for chunk in last] == [Kind.AUDIO, Kind.END]
    assert last[0].frames == int(0.3 * RATE)


def test_a_span_has_a_longest_and_beyond_the_end_there_is_nothing(
    office: Office, ask: Callable[..., Any]
) -> None:
    row = sealed_call(office, sound=noise(LONGEST_S + 30))
    assert ask(row.id, "from=0&to=9999").headers[SPAN].startswith(f"0-{LONGEST_S * RATE}/")
    for row in (sealed_call(office, sound=noise(2)), office.call(sound=noise(2))):
        answer = ask(row.id, "from=100&to=101")
        assert answer.status_code == HTTPStatus.OK
        assert answer.headers[SPAN] == f"{2 * RATE}-{2 * RATE}/{2 * RATE}"


def test_what_is_no_span_is_told(office: Office, ask: Callable[..., Any]) -> None:
    id = sealed_call(office).id
    for query in ("from=x&to=1", "from=2&to=1", "from=-1&to=1", "from=nan&to=1", "from=inf", "to=0"):
        answer = ask(id, query)
        assert answer.status_code == HTTPStatus.BAD_REQUEST and "two numbers" in answer.text, query


def test_the_stored_bytes_come_whole_and_by_range(office: Office, ask: Callable[..., Any]) -> None:
    for row, kind in ((sealed_call(office), "sealed"), (office.call(), "flac")):
        content = Paths(office.archive).final(row.id, kind).read_bytes()
        whole = ask(row.id)
        assert whole.content == content and whole.headers["content-length"] == str(len(content))
        for asked, given in (
            ("bytes=0-0", content[:1]),
            ("bytes=100-199", content[100:200]),
            (f"bytes={len(content) - 5}-", content[-5:]),
            ("bytes=-7", content[-7:]),
            (f"bytes=5-{10**12}", content[5:]),
            (f"bytes=5-{'9' * 5000}", content[5:]),
            (f"bytes=-{'9' * 5000}", content),
        ):
            part = ask(row.id, range=asked)
            assert (part.status_code, part.content) == (HTTPStatus.PARTIAL_CONTENT, given)
            assert part.headers["content-range"].endswith(f"/{len(content)}")
        for ignored in ("bytes=-", "bytes=0-1,3-4", "pages=1-2"):
            assert ask(row.id, range=ignored).content == content
        for first in (len(content), "9" * 5000):
            beyond = ask(row.id, range=f"bytes={first}-")
            assert beyond.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            assert beyond.headers["content-range"] == f"bytes */{len(content)}"


def test_a_file_that_is_not_the_recorded_one_is_not_given(office: Office, ask: Callable[..., Any]) -> None:
    """Also where it was given before, and however little was changed."""
    row = sealed_call(office)
    assert ask(row.id, "from=0&to=1").status_code == HTTPStatus.OK
    path = Paths(office.archive).final(row.id, "sealed")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    answer = ask(row.id, "from=0&to=1")
    assert answer.status_code == HTTPStatus.CONFLICT and "its hash differs" in answer.text
    assert "its hash differs" in str(Sounds(office.archive.files).obstacle(row))


@pytest.mark.parametrize("sealed", [True, False])
def test_what_is_purged_meanwhile_ends_and_is_gone(
    office: Office, ask: Callable[..., Any], sealed: bool
) -> None:
    """The file is open, and has no name any more."""
    row = sealed_call(office, sound=noise(30)) if sealed else office.call(sound=noise(30))
    assert ask(row.id).status_code == HTTPStatus.OK
    sound = Sounds(office.archive.files).open(row)
    pieces = sound.whole(0, sound.size)
    assert next(pieces)
    remove(office.archive, row.id, datetime.now(UTC))
    with pytest.raises(SoundError, match="removed meanwhile"):
        next(pieces)
    for query in ("", "from=0&to=1"):
        assert ask(row.id, query).status_code == HTTPStatus.GONE


def test_a_file_is_read_whole_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row, sounds = sealed_call(office), Sounds(office.archive.files)
    sounds.open(row).close()
    monkeypatch.setattr("hashlib.file_digest", raising(AssertionError("read again")))
    for _ in range(3):
        sounds.open(row).close()
    os.utime(Paths(office.archive).final(row.id, "sealed"), (1, 1))
    with pytest.raises(AssertionError, match="read again"):
        sounds.open(row)
