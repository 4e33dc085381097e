"""Who refuses in the call is not kept, whatever database and disk are at and whoever is killed then."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipagent.call.events import LATE_S
from sipagent.softphone.loop import MS
from sipagent.softphone.phone import Call, Way
from tests.attack.conftest import Make
from tests.attack.site import Site
from tests.live import calls
from tests.locking import locked
from tests.read_only import read_only

pytestmark = pytest.mark.live

KEY_MS = 80
BEFORE_BYE_MS = (10, 20, 30)


def parts(files: list[str]) -> bool:
    return any(file.endswith(".part") for file in files)


def hang_up_at(call: Call, when_ns: int) -> None:
    def hang_up() -> None:
        call.hang_up()

    call.loop.at(when_ns, hang_up)


def assert_refused_and_gone(there: Site) -> None:
    (recording,) = there.agent.wait_recordings(status="erased")
    (receipt,) = there.agent.wait_receipts()
    assert (receipt["decision"], receipt["decided_by"], recording["decision"]) == (
        "refused",
        "dtmf",
        "refused",
    )
    assert there.agent.files() == []
    there.agent.cli("verify")


def test_a_power_cut_while_the_database_is_locked_keeps_nothing(site: Make) -> None:
    """The mark is on the disk and the sound is not, though no row can say so; nor can the start before it."""
    there = site()
    bridge = there.talk()
    there.agent.wait_files(parts)
    with locked(there.agent.directory):
        bridge.caller.press("9")
        there.agent.wait_files(lambda files: [Path(file).suffix for file in files] == [".refused"], 5)
        there.cut_power()
    bridge.operator.end()
    bridge.caller.end()
    there.start()
    assert_refused_and_gone(there)


def test_what_a_read_only_folder_keeps_goes_as_soon_as_it_may(site: Make) -> None:
    there = site()
    bridge = there.talk()
    there.agent.wait_files(parts)
    with read_only(there.agent.directory / "recordings", here=False):
        bridge.caller.press("9")
        there.agent.child.wait_line(lambda line: "has no mark" in line, 10, "alert")
        there.hang_up(bridge.caller)
        assert "must be erased, and is not" in there.agent.cli("verify", code=1)
    there.agent.cli("purge")  # or the agent itself, which looks every minute
    assert_refused_and_gone(there)


@pytest.mark.parametrize("way", ["rfc4733", "inband"])
def test_a_key_that_ends_just_before_the_bye_is_heard(site: Make, way: Way) -> None:
    """The end waits for what was received before it. Of RFC 4733 the first two packets are lost."""
    there = site()
    inband = way == "inband"
    there.caller.event_type = None if inband else 101  # tones count in a call where no events are negotiated
    for count, before_ms in enumerate(BEFORE_BYE_MS, 1):
        bridge = there.talk()
        there.agent.wait_files(parts)
        calls.talk(bridge.caller, LATE_S)  # who hangs up sooner is not recorded, refusing or not
        press = bridge.caller.press("9", way, ms=KEY_MS, lose=0 if inband else 2)
        hang_up_at(bridge.caller, bridge.caller.rtp.pressed_ns(press) + (KEY_MS + before_ms) * MS)
        bridge.operator.wait_ended()
        receipts = there.agent.wait_receipts(count)
        assert [receipt["decision"] for receipt in receipts] == ["refused"] * count, before_ms
        there.agent.wait_no_files()  # its mark goes once the rows say so
        there.desk.skip_calls()
