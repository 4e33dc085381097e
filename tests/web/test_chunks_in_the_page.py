"""The page's reader of chunks finds what ours finds, whatever bytes it is given."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page

from media.recording.chunks import ChunkNote, Coding, Kind, PartWriter, Sealer, create_part, read_part
from tests.web.browser import needs_chromium, somebody
from tests.web.hearing import make_listening_office, noise
from tests.web.listening import listening

pytestmark = needs_chromium

_READ = """async (text) => {
    const { chunksOf } = await import("/static/chunks.js");
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return [...chunksOf(bytes)].map(({ kind, coding, sequence, position, rate, frames, payload }) =>
        [kind, coding, sequence, position, rate, frames, payload.length]);
}"""


@pytest.fixture(scope="module")
def page(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    office = make_listening_office(tmp_path_factory.mktemp("office"), None)  # type: ignore[arg-type]
    with listening(office, None) as listener, somebody(chromium) as person:
        page = person.new_page()
        page.goto(f"{listener.address}/login")
        yield page


def stored(folder: Path, sealed: bool) -> bytes:
    """Some chunks of every kind."""
    path = folder / "stored"
    path.unlink(missing_ok=True)
    writer = PartWriter(create_part(path), 8000, Sealer(bytes(32)).seal if sealed else None)
    for seed in range(3):
        writer.write_audio(noise(0.01, seed))
    writer.write_note(ChunkNote(pauses=((3, 9),)))
    writer.write_audio(noise(0.02))
    writer.write_note(ChunkNote(), Kind.END)
    writer.close()
    return path.read_bytes()


def both(page: Page, content: bytes, folder: Path) -> tuple[list[Any], list[Any]]:
    (folder / "content").write_bytes(content)
    ours = [
        [c.kind, c.coding, c.sequence, c.position, c.rate, c.frames, len(c.payload)]
        for c in read_part(folder / "content")
    ]
    return page.evaluate(_READ, b64encode(content).decode()), ours


@pytest.mark.parametrize("sealed", [True, False])
def test_whole_chunks_are_found(page: Page, tmp_path: Path, sealed: bool) -> None:
    theirs, ours = both(page, stored(tmp_path, sealed), tmp_path)
    assert theirs == ours and len(ours) == 6
    assert {row[1] for row in ours} == ({Coding.SEALED, Coding.CONTINUED} if sealed else {Coding.CLEAR})


_quiet = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_place = st.integers(0, 1 << 12)


@given(
    sealed=st.booleans(),
    changes=st.lists(st.tuples(_place, st.integers(0, 255)), max_size=4),
    cut=_place,
    more=st.binary(max_size=60),
)
@_quiet
def test_damage_costs_what_it_costs_our_own_reader(
    page: Page, tmp_path: Path, *, sealed: bool, changes: list[tuple[int, int]], cut: int, more: bytes
) -> None:
    content = bytearray(stored(tmp_path, sealed))
    for place, byte in changes:
        content[place % len(content)] = byte
    at = cut % len(content)
    content[at:at] = more
    theirs, ours = both(page, bytes(content[: len(content) - cut % 97]), tmp_path)
    assert theirs == ours


@given(
    st.lists(
        st.sampled_from([b"\xf6SIP", b"\x01\x00\x00\x02", b"\xff" * 8, bytes(8)]) | st.binary(), max_size=20
    )
)
@_quiet
def test_any_bytes_are_read(page: Page, tmp_path: Path, pieces: list[bytes]) -> None:
    theirs, ours = both(page, b"".join(pieces), tmp_path)
    assert theirs == ours
