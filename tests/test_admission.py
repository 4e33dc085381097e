"""What the configuration makes of a call: who may come, by which rules, heard how, and what prevents it."""

import math
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from itertools import product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from media.prompt import PromptError
from retention.vault import new_pair
from sipagent.agent.admission import (
    APART_S,
    CALM_S,
    HEARD_S,
    STALE_S,
    SUSTAINED_S,
    Admission,
    Lateness,
    admission,
    obstacles,
    refuse_unrecordable,
    tones,
)
from sipagent.call import events as e
from sipagent.call.machines import Codes
from sipagent.call.state import Policy
from sipagent.config.hours import Schedule
from sipagent.config.load import Config, ConfigError
from sipagent.config.sampling import Seed, Shares
from tests.configured import CONTRACT, SMALL, read, with_keys
from tests.driving import ELSEWHERE, HERE, NUMBER, RULES
from tests.read_only import read_only

ON_TIME, HALF, TOO_LATE = 0.0, 0.15, 0.3  # s, of a turn

ID = "20261125T110000000-482913"
NOON = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)  # a Wednesday
PARIS = ZoneInfo("Europe/Paris")


def rules(where: Path, *changes: tuple[str, str]) -> Admission:
    text = SMALL
    for table, keys in changes:
        text = with_keys(table, keys, text)
    return admission(read(text, where))


def offered(office: Admission, called: str | None = NUMBER, at: datetime = NOON) -> e.CallOffered:
    return office.offer(ID, HERE, called, at, room=True, draining=False)


# --- who may come ---


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        (HERE, True), ("127.255.0.1:5060", True), (ELSEWHERE, False), ("[::1]:5060", True),
        ("[2001:db8::1]:5060", False), ("localhost:5060", False), ("", False), ("127.0.0.1", False),
    ],
)  # fmt: skip
def test_a_source_is_allowed_by_its_address_alone(source: str, allowed: bool) -> None:
    here = replace(RULES, allowed=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
    assert here.source_allowed(source) is allowed


def test_without_sources_the_registrars_addresses_are_those(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trunk = 'allowed_sources = []\nregistrar = "sip:trunk.invalid:5070"\nusername = "a"\npassword_env = "P"'
    with pytest.raises(ConfigError, match=r"trunk.registrar: trunk.invalid can't be looked up"):
        rules(where, ("trunk", trunk))
    asked: list[tuple[object, object]] = []

    def looked_up(host: object, port: object, **_: Any) -> list[Any]:
        asked.append((host, port))
        return [(0, 0, 0, "", ("192.0.2.7", 0)), (0, 0, 0, "", ("2001:db8::7", 0, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    found = rules(where, ("trunk", trunk))
    assert asked == [("trunk.invalid", None)]
    allowed = [found.source_allowed(f"{host}:9") for host in ("192.0.2.7", "192.0.2.8", "[2001:db8::7]")]
    assert allowed == [True, False, True]


def test_an_offer_says_what_the_world_says() -> None:
    week = (((600, 780),),) * 7
    office = replace(RULES, numbers=frozenset({NUMBER}), schedule=Schedule(PARIS, week=week))
    drawn = "drawn: no seed, share 1.0"
    assert offered(office) == e.CallOffered(True, True, True, False, True, True, draw=drawn, language="fr")
    shut = office.offer(ID, ELSEWHERE, None, NOON.replace(hour=20), room=False, draining=True)
    assert shut == e.CallOffered(False, False, False, True, False, True, draw=drawn, language="fr")
    assert offered(RULES, None).number_known  # any is, where none is named


def test_a_key_chooses_the_language_where_no_number_does(where: Path) -> None:
    choice = 'choose = "prompts/fr/choose.wav"\nchoices = { "2" = "en" }'
    english = ("prompts.en", 'notice = "prompts/en/notice.wav"')
    found = rules(where, ("prompts", f"""languages = {{ "{NUMBER}" = "fr" }}\n{choice}"""), english)
    assert found.policy.choices == (("2", "en"),)
    assert found.sounds["fr"][e.Prompt.CHOOSE].path.name == "choose.wav"
    assert found.sounds["en"][e.Prompt.NOTICE].path.parent.name == "en"
    asked = [offered(found, called).may_choose for called in ("+33323063007", None, NUMBER)]
    assert asked == [True, True, False]


SEED = Seed(b"s" * 32)
VALUE = SEED.value(ID)


@pytest.mark.parametrize("share", [1.0, 0.0, VALUE, math.nextafter(VALUE, 1)])
def test_the_share_of_calls_that_are_candidates(share: float) -> None:
    """Nothing of what the caller sends has a part in the draw. Without a seed of a share nobody is drawn."""
    office = replace(RULES, shares=replace(RULES.shares, share=share), seed=SEED)
    offers = [
        office.offer(ID, source, called, NOON, room=room, draining=False)
        for source in (HERE, "127.0.0.2:1")
        for called in (NUMBER, None, "+33999999999")
        for room in (True, False)
    ]
    sampled = share > VALUE
    said = f"{'drawn' if sampled else 'not drawn'}: {VALUE!r} of seed {SEED.name}, share {share!r}"
    assert {(offer.sampled, offer.draw) for offer in offers} == {(sampled, said)}
    offer = offered(replace(office, seed=None))
    told = f"{'drawn' if share == 1.0 else 'not drawn'}: no seed, share {share!r}"
    assert (offer.sampled, offer.draw) == (share == 1.0, told)


# --- by which rules, heard how ---


def test_the_policy_is_the_configurations(where: Path) -> None:
    found = rules(
        where,
        ("refusal", 'mode = "opt_in"\ndigit = "0"\naccept_digit = "5"\nwindow_s = 2.5'),
        ("operators", 'ring_s = 7\nmax_wait_s = 70\nwrap_up_s = 3\nstop_code = "*1"\nstop_erases = false'),
        ("operators", 'pause_code = "*2"\nflag_code = "#"\nrecording_header = "X-Recording"'),
        ("operators", 'alert_info_recorded = "<urn:alert:service:normal>;info=rec"'),
        ("recording", "enabled = false\nshare = 0.5"),
        ("capacity", "full_status = 486"),
        ("retention", 'period = "3 months"'),
    )
    policy = found.policy
    assert (policy.opt_in, policy.refusal_digits, policy.accept_digit) == (True, ("0",), "5")
    assert (policy.window_s, policy.ring_s, policy.max_wait_s) == (2.5, 7.0, 70.0)
    assert (policy.codes, policy.stop_erases) == (Codes("*1", "*2", "#"), False)
    assert (policy.recording, policy.full_status, policy.voice) == (False, 486, True)
    assert (found.wrap_up_s, found.period, found.calls) == (3.0, "3 months", 1)
    assert (found.shares, found.seed) == (Shares(PARIS, 0.5), None)
    assert found.extensions == ("sip:201@127.0.0.1:5070",)
    ring = "Alert-Info", "<urn:alert:service:normal>;info=rec"
    words = {sign: ("X-Recording", sign.value) for sign in e.Sign}
    assert found.ring_headers == {
        sign: (ring, word) if sign is e.Sign.REC else (word,) for sign, word in words.items()
    }
    default = rules(where)
    beside = frozenset({"fr"})  # details.wav lies in the notice's folder
    assert default.policy == Policy(voice=True, detailed=beside, transfer_targets=default.extensions)


def test_details_that_lie_beside_a_notice_are_its_own_unless_their_key_is_another(where: Path) -> None:
    """A key that chose a language, or accepted, before there were details does so still."""
    found = rules(where)
    assert found.sounds["fr"][e.Prompt.DETAILS].path.name == "details.wav"
    choice = 'choose = "prompts/fr/choose.wav"\nchoices = { "3" = "en" }'
    english = ("prompts.en", 'notice = "prompts/en/notice.wav"')
    for tables in ((("prompts", choice), english), (("refusal", 'accept_digit = "3"'),)):
        old = rules(where, *tables)
        assert old.policy.detailed == frozenset() and e.Prompt.DETAILS not in old.sounds["fr"]
    named = ("prompts", f'details = "prompts/fr/details.wav"\n{choice}')
    with pytest.raises(ConfigError, match=r"prompts\.choices\.3: '3' is refusal\.details_digit too"):
        rules(where, named, english)
    for digit in ("9", "1"):
        with pytest.raises(ConfigError, match=rf"refusal\.details_digit: '{digit}' is refusal\."):
            rules(where, named, english, ("refusal", f'details_digit = "{digit}"'))
    assert rules(where, named, english, ("refusal", 'details_digit = "4"')).policy.details_digit == "4"


def test_every_prompt_is_inspected_in_every_language_in_use(where: Path) -> None:
    found = admission(read(CONTRACT.replace('["192.0.2.0/24"]', '["127.0.0.1"]'), where))
    assert set(found.sounds) == {"fr", "en"} and set(tones()) == set(e.Tone)
    assert all(
        set(sounds) == {*e.Prompt} - {e.Prompt.CHOOSE, e.Prompt.MESSAGE} for sounds in found.sounds.values()
    )
    notices = [
        found.sounds[found.language_of(number)][e.Prompt.NOTICE]
        for number in ("+33323063006", "+33323063007")
    ]
    assert [notice.path.parent.name for notice in notices] == ["fr", "en"]
    assert found.language_of(None) == "fr"
    with pytest.raises(PromptError, match="does not exist"):
        rules(where, ("prompts", 'notice = "prompts/fr/absent.wav"'))


def test_who_waits_is_asked_to_hold_in_the_language_of_the_call(where: Path) -> None:
    names = ("notice", "welcome", "refused", "confirm", "closed", "unavailable")
    prompts = "\n".join(f'{name} = "prompts/fr/{name}.wav"' for name in names)
    other = rules(
        where, ("service", 'language = "de"'), ("prompts", f'{prompts}\nhold_music = "prompts/hold.wav"')
    )
    held = [one.sounds[one.language][e.Prompt.PLEASE_HOLD].path.name for one in (rules(where), other)]
    assert held == ["please_hold.wav", "hold.wav"]


# --- what keeps every call from being recorded is known before one ---

SEALED = with_keys("recording", 'recipients = ["ann.pub", "bob.pub"]', SMALL)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("ann", "bob"):
        new_pair(tmp_path / name, None, name)
    return read(SEALED, tmp_path / "config.toml")


def told(config: Config) -> list[str]:
    return [str(one).replace(f"{config.base}/", "") for one in obstacles(config)]


def is_refused(config: Config, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        refuse_unrecordable(config)


def test_with_keys_and_places_there_is_none(config: Config) -> None:
    before = sorted(config.base.iterdir())
    assert told(config) == []
    refuse_unrecordable(config)
    assert sorted(config.base.iterdir()) == before


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def private(path: Path) -> None:
    path.write_bytes(path.with_suffix(".key").read_bytes())


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (Path.unlink, "bob.pub: No such file or directory"),
        (damaged, "bob.pub: is not a public key; accepted: one line"),
        (private, "bob.pub: is an identity, which does not belong here"),
        (a_folder, "bob.pub: Is a directory"),
    ],
)
def test_a_key_that_nothing_can_be_sealed_to(
    config: Config, change: Callable[[Path], None], problem: str
) -> None:
    """One of several is enough: nobody is left out without a word."""
    change(config.base / "bob.pub")
    (said,) = told(config)
    assert said.startswith(f"recording.recipients: {problem}")
    is_refused(config, r"config.toml: recording.recipients: .*bob.pub: .*; accepted: what")
    off = read(with_keys("recording", "enabled = false", SEALED), config.file)
    assert told(off) == []
    refuse_unrecordable(off)


@pytest.mark.parametrize(
    ("name", "key", "where"),
    [
        ("recordings", "recording.directory", ""),
        ("vault", "retention.database", ""),
        ("file", "recording.directory", 'directory = "file/a/b"'),
        ("link", "recording.directory", 'directory = "link"'),
    ],
)
def test_a_place_that_is_no_folder(config: Config, name: str, key: str, where: str) -> None:
    place = config.base / name
    place.symlink_to("nowhere") if name == "link" else place.write_text("in the way")
    elsewhere = read(with_keys("recording", where, SEALED), config.file)
    assert told(elsewhere) == [f"{key}: {name} is not a directory"]
    is_refused(elsewhere, rf"{key}: .*{name} is not a directory")
    if name == "vault":  # stored in clear needs none
        assert told(read(SMALL, config.file)) == []


def test_what_the_machine_has_come_to_is_told_and_stops_nothing(config: Config) -> None:
    """A disk that is mounted read-only may be put right while calls go on."""
    (config.base / "recordings").mkdir()
    with read_only(config.base / "recordings", here=False):
        assert told(config) == ["recording.directory: recordings cannot be written to"]
        refuse_unrecordable(config)
    assert told(config) == []


# --- whether the machine keeps up ---


def test_what_is_late_for_a_while_leaves_no_room_until_it_is_calm_again() -> None:
    late = Lateness()
    assert not late.full(0.0)
    for at in (1.0, 1.5, 2.0, 2.5):
        late.was("turn", TOO_LATE, at)
        assert not late.full(at)
    late.was("turn", TOO_LATE, 3.0)
    assert late.full(3.0)
    late.was("turn", HALF, 4.0)
    late.was("turn", ON_TIME, 4.0 + CALM_S - 0.1)
    assert late.full(4.0 + CALM_S - 0.1)
    assert not late.full(4.0 + CALM_S)
    late.was("invite", SUSTAINED_S, 10.0)  # it stood still for so long
    assert late.full(10.0)
    late.was("turn", HALF, 10.1 + CALM_S)
    assert not late.full(10.1 + CALM_S + STALE_S)  # nothing was told since, and nobody knows


def test_sound_is_late_by_the_time_since_it_was_taken() -> None:
    """However seldom that is done. A leg that has ended is not late."""
    late = Lateness()
    for tick in range(100):
        late.heard(1, 0.1, tick / 10)
        late.heard(2, 0.1 + 0.02 * (tick % 2), tick / 10)  # the clock ticks fifty times a second
    late.heard(1, 5.0, 14.9)
    late.forget(2)
    late.heard(2, 0.1, 15.0)
    assert not late.full(15.0)
    for tick in range(13):
        late.heard(1, 0.1, 15.2 + 0.17 * tick)
    assert late.full(17.3)
    assert late.behind_s(17.3) == 0.0  # of what phones send nothing lies unread


def test_calls_that_are_not_bridged_yet_count_as_if_they_were() -> None:
    def is_full(calls: int, legs: int, late_s: float) -> bool:
        late = Lateness()
        late.promised(calls, legs)
        for step in range(4):
            late.was("turn", late_s, float(step))
        return late.full(3.0)

    assert [is_full(10, legs, 0.2) for legs in (20, 17, 12, 10, 0)] == [False, False, True, True, True]
    assert not is_full(10, 10, 0.12) and not is_full(10, 30, 0.24) and is_full(0, 0, TOO_LATE)


def test_what_phones_have_sent_may_lie_unread_as_long_as_anything_did() -> None:
    late = Lateness()
    late.was("invite", 3.0, 10.0)
    late.was("turn", 1.0, 11.0)
    assert (late.behind_s(11.0), late.behind_s(10.0 + HEARD_S)) == (3.0, 3.0)
    late.was("turn", 1.0, 12.0 + HEARD_S)
    assert late.behind_s(12.0 + HEARD_S) == 1.0
    assert late.behind_s(12.1 + 2 * HEARD_S) == 0.0
    late.was("turn", 0.13, 30.0)
    assert late.behind_s(30.0) == 0.13


@pytest.mark.parametrize("history", list(product((ON_TIME, HALF, TOO_LATE, SUSTAINED_S), repeat=3)))
def test_all_short_histories_of_being_late(history: tuple[float, ...]) -> None:
    """Full: something was too late again and again. Room: nothing was half as late for a while."""
    for steps in product((APART_S / 2, APART_S, 2 * APART_S, CALM_S), repeat=len(history)):
        late, now, was, half_late = Lateness(), 100.0, False, -math.inf
        too_late: list[tuple[float, float]] = []  # since when, and when
        for late_s, step_s in zip(history * 2, steps * 2, strict=True):
            now += step_s
            late.was("turn", late_s, now)
            if late_s >= TOO_LATE:
                again = too_late and now - late_s - too_late[-1][1] <= APART_S
                too_late.append((too_late[-1][0] if again else now - late_s, now))
            half_late = now if late_s >= HALF else half_late
            began = bool(too_late) and too_late[-1][1] == now and now - too_late[-1][0] >= SUSTAINED_S
            is_full = late.full(now)
            assert is_full == (began or (was and now - half_late < CALM_S))
            was = is_full
