"""What the configuration makes of a call: who may come, by which rules, heard how."""

import math
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from media.prompt import PromptError
from sipagent.agent.admission import SHIPPED, Admission, admission, tones
from sipagent.call import events as e
from sipagent.call.machines import Codes
from sipagent.call.state import Policy
from sipagent.config.hours import Schedule
from sipagent.config.load import ConfigError
from sipagent.config.sampling import Seed, Shares, Window
from tests.configured import CONTRACT, SMALL, read, with_keys
from tests.driving import ELSEWHERE, HERE, NUMBER, RULES

ID = "20261125T110000000-482913"
NOON = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A folder with the shipped prompts, and the name of a configuration in it."""
    (tmp_path / "prompts").symlink_to(SHIPPED)
    return tmp_path / "config.toml"


def rules(where: Path, *changes: tuple[str, str]) -> Admission:
    text = SMALL
    for table, keys in changes:
        text = with_keys(table, keys, text)
    return admission(read(text, where))


# --- who may come ---


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        (HERE, True),
        ("127.255.0.1:5060", True),
        (ELSEWHERE, False),
        ("[::1]:5060", True),
        ("[2001:db8::1]:5060", False),
        ("localhost:5060", False),
        ("", False),
        ("127.0.0.1", False),
    ],
)
def test_a_source_is_allowed_by_its_address_alone(source: str, allowed: bool) -> None:
    here = replace(RULES, allowed=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
    assert here.source_allowed(source) is allowed


def test_without_sources_the_registrars_addresses_are_those(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, object]] = []

    def looked_up(host: object, port: object, **_: Any) -> list[Any]:
        asked.append((host, port))
        return [(0, 0, 0, "", ("192.0.2.7", 0)), (0, 0, 0, "", ("2001:db8::7", 0, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    trunk = (
        'allowed_sources = []\nregistrar = "sip:trunk.example.net:5070"\nusername = "a"\npassword_env = "P"'
    )
    found = rules(where, ("trunk", trunk))
    assert asked == [("trunk.example.net", None)]
    assert [found.source_allowed(f"{host}:9") for host in ("192.0.2.7", "192.0.2.8", "[2001:db8::7]")] == [
        True,
        False,
        True,
    ]


def test_a_registrar_that_cannot_be_looked_up_is_an_error_of_the_configuration(where: Path) -> None:
    trunk = 'allowed_sources = []\nregistrar = "sip:nowhere.invalid"\nusername = "a"\npassword_env = "P"'
    with pytest.raises(ConfigError, match=r"trunk.registrar: nowhere.invalid can't be looked up"):
        rules(where, ("trunk", trunk))


def test_an_offer_says_what_the_world_says() -> None:
    office = replace(
        RULES,
        numbers=frozenset({NUMBER}),
        schedule=Schedule(ZoneInfo("Europe/Paris"), week=(((600, 780),),) * 7),
    )
    offer = office.offer(ID, HERE, NUMBER, NOON, room=True, draining=False)
    drawn = "drawn: no seed, share 1.0"
    assert offer == e.CallOffered(True, True, True, False, True, True, draw=drawn, language="fr")
    shut = office.offer(ID, ELSEWHERE, None, NOON.replace(hour=20), room=False, draining=True)
    assert shut == e.CallOffered(False, False, False, True, False, True, draw=drawn, language="fr")


def test_any_number_is_known_where_none_is_named() -> None:
    assert RULES.offer(ID, HERE, None, NOON, room=True, draining=False).number_known


SEED = Seed(b"s" * 32)
VALUE = SEED.value(ID)


def test_a_key_chooses_the_language_where_no_number_does(where: Path) -> None:
    choice = 'choose = "prompts/fr/choose.wav"\nchoices = { "2" = "en" }'
    english = ("prompts.en", 'notice = "prompts/en/notice.wav"')
    numbers = ("prompts", f"""languages = {{ "{NUMBER}" = "fr" }}\n{choice}""")
    found = rules(where, numbers, english)
    assert found.policy.choices == (("2", "en"),)
    assert found.sounds["fr"][e.Prompt.CHOOSE].path.name == "choose.wav"
    assert found.sounds["en"][e.Prompt.NOTICE].path.parent.name == "en"
    asked = [
        found.offer(ID, HERE, called, NOON, room=True, draining=False).may_choose
        for called in ("+33323063007", None, NUMBER)
    ]
    assert asked == [True, True, False]


@pytest.mark.parametrize(
    ("share", "sampled"),
    [(1.0, True), (0.0, False), (VALUE, False), (math.nextafter(VALUE, 1), True)],
)
def test_the_share_of_calls_that_are_candidates(share: float, sampled: bool) -> None:
    office = replace(RULES, shares=replace(RULES.shares, share=share), seed=SEED)
    offer = office.offer(ID, HERE, NUMBER, NOON, room=True, draining=False)
    said = f"{'drawn' if sampled else 'not drawn'}: {VALUE!r} of seed {SEED.name}, share {share!r}"
    assert (offer.sampled, offer.draw) == (sampled, said)


def test_the_share_is_that_of_the_moment() -> None:
    """Noon in Paris is eleven in UTC."""
    lunch = Window(days=(2,), hours=((720, 780),), share=0.0)
    office = replace(RULES, shares=replace(RULES.shares, windows=(lunch,)), seed=SEED)
    for minutes, sampled in ((-1, True), (0, False), (59, False), (60, True)):
        at = NOON + timedelta(minutes=minutes)
        assert office.offer(ID, HERE, NUMBER, at, room=True, draining=False).sampled is sampled


def test_nothing_of_what_the_caller_sends_has_a_part_in_the_draw() -> None:
    office = replace(RULES, shares=replace(RULES.shares, share=0.5), seed=SEED)
    draws = {
        office.offer(ID, source, called, NOON, room=room, draining=False).draw
        for source in (HERE, "127.0.0.2:1")
        for called in (NUMBER, None, "+33999999999")
        for room in (True, False)
    }
    assert len(draws) == 1


def test_without_a_seed_nobody_is_drawn_of_whom_only_a_share_is() -> None:
    office = replace(RULES, shares=replace(RULES.shares, share=math.nextafter(1, 0)))
    offer = office.offer(ID, HERE, NUMBER, NOON, room=True, draining=False)
    assert (offer.sampled, offer.draw) == (False, "not drawn: no seed, share 0.9999999999999999")


# --- by which rules ---


def test_the_policy_is_the_configurations(where: Path) -> None:
    found = rules(
        where,
        ("refusal", 'mode = "opt_in"\ndigit = "0"\naccept_digit = "5"\nwindow_s = 2.5'),
        ("operators", 'ring_s = 7\nmax_wait_s = 70\nwrap_up_s = 3\nstop_code = "*1"\nstop_erases = false'),
        ("operators", 'pause_code = "*2"\nflag_code = "#"'),
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
    assert (found.shares, found.seed) == (Shares(ZoneInfo("Europe/Paris"), 0.5), None)
    assert found.extensions == ("sip:201@127.0.0.1:5070",)


def test_what_the_configuration_leaves_open_is_the_policys_own(where: Path) -> None:
    found = rules(where)
    assert found.policy == Policy(voice=True, transfer_targets=found.extensions)


# --- heard how ---


def test_every_prompt_is_inspected_in_every_language_in_use(where: Path) -> None:
    found = admission(read(CONTRACT.replace('["192.0.2.0/24"]', '["127.0.0.1"]'), where))
    assert set(found.sounds) == {"fr", "en"}
    assert all(set(sounds) == {*e.Prompt} - {e.Prompt.CHOOSE} for sounds in found.sounds.values())
    notices = [found.sounds_for(number)[e.Prompt.NOTICE] for number in ("+33323063006", "+33323063007")]
    assert [notice.path.parent.name for notice in notices] == ["fr", "en"]
    assert found.sounds_for(None) == found.sounds["fr"]


def test_who_waits_is_asked_to_hold_in_the_language_of_the_call(where: Path) -> None:
    assert rules(where).sounds_for(None)[e.Prompt.PLEASE_HOLD].path.name == "please_hold.wav"
    other = rules(where, ("service", 'language = "de"'), ("prompts", all_prompts("prompts/fr")))
    assert other.sounds_for(None)[e.Prompt.PLEASE_HOLD].path.name == "hold.wav"


def all_prompts(folder: str) -> str:
    names = ("notice", "welcome", "refused", "confirm", "closed", "unavailable")
    lines = [f'{name} = "{folder}/{name}.wav"' for name in names]
    return "\n".join([*lines, 'hold_music = "prompts/hold.wav"'])


def test_a_prompt_that_cannot_be_played_is_no_prompt(where: Path) -> None:
    with pytest.raises(PromptError, match="does not exist"):
        rules(where, ("prompts", 'notice = "prompts/fr/absent.wav"'))


def test_there_is_a_tone_for_every_acknowledgement() -> None:
    assert set(tones()) == set(e.Tone)
