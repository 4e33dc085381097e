"""What a reload takes and what waits for a restart, in either shape; and what would part is refused whole."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from sipagent.agent.admission import SHIPPED
from sipagent.agent.agent import Agent
from sipagent.agent.engine import EngineSettings
from sipagent.config.layout import EngineLimits
from sipagent.config.load import Config, ConfigError
from sipagent.config.tables import EnrolTable, EventsTable, WebTable
from sipagent.service.one_process import engine_settings
from sipagent.service.rules import (
    ALONE,
    ALWAYS,
    BEHIND_EDGE,
    LISTENED_FOR,
    Reloaded,
    reloaded,
    rules_of,
    waiting,
)
from sipagent.service.supervision import ChildSpecs
from sipagent.service.worker import settings
from sipagent.voice.detectors import keys_alone
from tests.configured import CONTRACT, SMALL, read, with_keys
from tests.driving import RULES, Stage


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every key, as `table.key`."""
    return {
        f"{table}.{name}"
        for table, field in model.model_fields.items()
        for inner in [field.annotation, *getattr(field.annotation, "__args__", ())]
        if isinstance(inner, type) and issubclass(inner, BaseModel)
        for name in inner.model_fields
    }


# --- which keys ---

# What a reload takes, and what only commands read. A key of neither list is to be decided.
TAKEN = {
    *("service.name", "service.controller", "service.controller_contact", "service.dpo_contact"),
    *("service.legal_basis", "service.language", "service.timezone", "service.country"),
    *("trunk.numbers", "trunk.media_sources", "hours.week", "hours.holidays", "hours.closed"),
    *("access.relay", "access.relay_hours"),
    *("prompts.notice", "prompts.welcome", "prompts.refused", "prompts.confirm", "prompts.closed"),
    *("prompts.unavailable", "prompts.hold_music", "prompts.please_hold", "prompts.languages"),
    *("prompts.choose", "prompts.choices", "prompts.details", "prompts.messages"),
    *("refusal.digit", "refusal.accept_digit", "refusal.details_digit", "refusal.window_s"),
    *("operators.extensions", "operators.strategy", "operators.ring_s", "operators.max_wait_s"),
    *(
        "operators.say_position",
        "operators.wrap_up_s",
        "operators.alert_info_recorded",
        "operators.alert_info_not_recorded",
    ),
    *("operators.recording_header", "operators.transfer", "operators.refer_targets"),
    *("operators.transfer_targets", "operators.stop_code", "operators.stop_erases"),
    *("operators.pause_code", "operators.flag_code", "operators.record_code"),
    *(
        "recording.enabled",
        "recording.share",
        "recording.window",
        "recording.begin",
        "recording.justification",
    ),
    *("recording.format", "recording.recipients"),
    *("retention.period", "retention.justification", "retention.receipts_period"),
    *("retention.analysis_period", "retention.erase_after_note", "retention.purposes"),
    *("retention.hold_grounds", "retention.timestamp_url", "retention.timestamp_ca"),
    *(f"web.{key}" for key in WebTable.model_fields),  # which is another process
    *(f"events.{key}" for key in EventsTable.model_fields),
    *(f"enrol.{key}" for key in EnrolTable.model_fields),  # so is this; the purge takes its folder
}
NOT_ALONE = {  # one process has no edge, and takes the others
    *("edge.start", "edge.worker_ports", "edge.invites_per_s", "edge.certificate", "edge.private_key"),
    *("edge.ca", "capacity.full_status"),
}


@pytest.mark.parametrize(
    ("shape", "others"), [(ALONE, TAKEN | NOT_ALONE), (BEHIND_EDGE, TAKEN | {"trunk.allowed_sources"})]
)
def test_of_every_key_it_is_decided_whether_a_reload_takes_it(
    shape: Mapping[str, str], others: set[str]
) -> None:
    every = {key for one in shape for key in keys_of(Config) if f"{key}.".startswith(f"{one}.")}
    assert every | others == keys_of(Config)
    assert set(shape) & others == set()
    assert set(ALWAYS) <= set(shape)


CHANGED = {
    **{"trunk.uri": '"sip:other@127.0.0.1"', "trunk.registrar": '"sip:127.0.0.9"', "trunk.realm": '"other"'},
    **{"trunk.username": '"other"', "trunk.password_env": '"OTHER"', "trunk.transport": '"tcp"'},
    **{"trunk.listen": '"127.0.0.1:5099"', "trunk.public_address": '"192.0.2.7"'},
    **{"trunk.rtp_ports": '"20000-20999"', "trunk.numbers": '["+33323063009"]'},
    **{"trunk.allowed_sources": '["192.0.2.0/24"]', "trunk.codecs": '["PCMU"]', "trunk.srtp": '"optional"'},
    **{"trunk.listen_ipv6": '"[::1]:5060"', "operators.srtp": '"optional"'},
    **{"operators.username": '"other"', "operators.password_env": '"OTHER"', "operators.ring_s": "7"},
    **{"operators.outbound_proxy": '"sip:127.0.0.8"', "capacity.media_timeout_s": "12"},
    **{"capacity.full_status": "486", "recording.format": '"wav"'},
}
"""Of keys that the engine may be set up by, and of some that it is not."""
LOGINS = 'username = "agent"\npassword_env = "PASSWORD"'


@pytest.mark.parametrize("key", CHANGED)
def test_what_the_engine_is_set_up_by_waits(
    where: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """One process as well as a worker: it has begun with these."""
    monkeypatch.setenv("PASSWORD", "secret")
    monkeypatch.setenv("OTHER", "another")
    table, _, name = key.partition(".")
    text = with_keys(table, LOGINS, SMALL) if table in ("trunk", "operators") else SMALL
    before, after = read(text, where), read(with_keys(table, f"{name} = {CHANGED[key]}", text), where)
    assert (key in waiting(before, after, ALONE)) == (key in ALONE)
    if alone(before, stage.agent) != alone(after, stage.agent):
        assert key in ALONE
    if behind_edge(before, stage.agent) != behind_edge(after, stage.agent):
        assert key in BEHIND_EDGE or key == "trunk.allowed_sources"


def alone(config: Config, agent: Agent) -> EngineSettings:
    agent.admission = replace(RULES, allowed=rules_of(config).allowed)
    return bare(engine_settings(config, agent))


def behind_edge(config: Config, agent: Agent) -> EngineSettings:
    spec = ChildSpecs(config, EngineLimits(legs=4), log_json=True, drain_s=1.0).worker_spec(0, ())
    made = settings(spec, agent, print)
    return replace(bare(made), others=(), hop_token="", way_out_token="")  # of each specs its own


def bare(settings: EngineSettings) -> EngineSettings:
    """Without what is a function, and the addresses of the PBX, which a reload tells it."""
    return replace(settings, report=print, audio=print, has_room=bool, pbx=frozenset())


def taken(before: Config, text: str, shape: Mapping[str, str] = BEHIND_EDGE) -> Reloaded:
    return reloaded(before, rules_of(before), read(text, before.file), shape)


def test_a_listen_that_a_network_reaches_waits_for_the_other_shape(where: Path) -> None:
    before = read(SMALL, where)
    for keys in ('listen = "0.0.0.0:5060"', 'transport = "tcp"'):
        after = taken(before, with_keys("trunk", keys, SMALL), ALONE)
        assert after.config.trunk == before.trunk
        assert set(after.waits) == {f"trunk.{keys.partition(' ')[0]}"}
    more = taken(before, with_keys("capacity", "calls = 5", SMALL), ALONE)
    assert (set(more.waits), more.config.capacity.calls, more.rules.calls) == ({"capacity.calls"}, 1, 1)


def test_it_waits_until_the_file_says_it_no_more(where: Path) -> None:
    """At each reload it is said again, and where the file is put back nothing is."""
    before = read(SMALL, where)
    moved = with_keys("retention", 'database = "other.db"', SMALL)
    first = taken(before, moved)
    assert first.config.retention.database == before.retention.database
    again = taken(first.config, moved)
    assert first.waits == again.waits == {"retention.database": "it is in use"}
    assert taken(again.config, SMALL).waits == {}


def test_a_table_that_comes_or_goes_waits_as_a_whole(where: Path) -> None:
    url = "postgresql://sipagent@db.example.net/sipagent"
    shared = with_keys("retention", f'database = "{url}"', with_keys("cluster", 'host = "a"', SMALL))
    came, went = taken(read(SMALL, where), shared), taken(read(shared, where), SMALL)
    assert set(came.waits) == set(went.waits) == {"retention.database", "cluster"}
    assert (came.config.shared, came.config.host) == (None, None)
    assert (went.config.shared, went.config.host) == (url, "a")


def test_calls_go_up_behind_an_edge_and_not_down(where: Path) -> None:
    five = with_keys("capacity", "calls = 5", SMALL)
    before = read(five, where)
    fewer = taken(before, with_keys("capacity", "calls = 3", five))
    assert fewer.waits == {"capacity.calls": "it goes up without, not down"}
    assert (fewer.config.capacity.calls, fewer.rules.calls) == (5, 5)
    more = taken(before, with_keys("capacity", "calls = 8", five))
    assert (more.waits, more.rules.calls) == ({}, 8)


def test_what_stays_has_to_go_with_what_is_new(where: Path) -> None:
    """The ports wait, so that the calls have none."""
    before = read(with_keys("trunk", 'rtp_ports = "10000-10031"', SMALL), where)
    text = with_keys("trunk", 'rtp_ports = "10000-10999"', with_keys("capacity", "calls = 8", SMALL))
    with pytest.raises(ConfigError, match=r"trunk\.rtp_ports.*until a restart, trunk\.rtp_ports as before"):
        taken(before, text)


# --- what a notice promises, and who listens ---

LISTENS = with_keys("prompts", 'notice = "prompts/fr/notice_voice.wav"', SMALL)
NOBODY = with_keys("refusal", 'engine = "none"', SMALL)  # and the notice promises the key alone
OTHER_WORDS = with_keys("refusal", 'keywords = ["je refuse", "refuser", "non merci"]', LISTENS)
ENGLISH = '\n[prompts.en]\nnotice = "prompts/en/notice.wav"\n[prompts.languages]\n"+33323063007" = "en"'
PARTING = {
    "a detector and a notice that says so": (NOBODY, LISTENS),
    "no detector any more": (LISTENS, NOBODY),
    "another mode": (SMALL, with_keys("refusal", 'mode = "opt_in"', SMALL)),
    "words, and a notice that nobody can read": (
        with_keys("prompts", 'notice = "tones/paused.wav"', LISTENS),
        with_keys("prompts", 'notice = "tones/resumed.wav"', OTHER_WORDS),
    ),
    "words, and a question": (LISTENS, with_keys("prompts", 'confirm = "tones/paused.wav"', OTHER_WORDS)),
    "words, and one more language": (LISTENS, OTHER_WORDS + ENGLISH),
}
UNHEARD = "notice_voice.wav promises a spoken refusal, which nobody hears"


@pytest.mark.parametrize("shape", [ALONE, BEHIND_EDGE], ids=["alone", "edge"])
@pytest.mark.parametrize("case", PARTING)
def test_a_notice_and_who_listens_change_together_or_not_at_all(
    where: Path, shape: Mapping[str, str], case: str
) -> None:
    (where.parent / "tones").symlink_to(SHIPPED / "tones")
    was, text = PARTING[case]
    with pytest.raises(ConfigError, match=r"refusal\.\w+.*restart"):
        taken(read(was, where), text, shape)


def test_a_notice_that_promises_what_waits_is_named(where: Path) -> None:
    with pytest.raises(ConfigError, match=f"{UNHEARD}.*\\(until a restart, refusal.engine as before\\)"):
        taken(read(NOBODY, where), LISTENS)


def test_a_file_that_got_other_words_under_its_name_is_another_notice(where: Path) -> None:
    text = with_keys("prompts", 'notice = "own.wav"', LISTENS)
    own = where.with_name("own.wav")
    own.write_bytes((SHIPPED / "fr/notice.wav").read_bytes())
    before = read(text, where)
    rules = rules_of(before)
    own.write_bytes((SHIPPED / "fr/notice_voice.wav").read_bytes())
    after = read(with_keys("prompts", 'notice = "own.wav"', OTHER_WORDS), where)
    with pytest.raises(ConfigError, match=r"refusal.keywords: changes together with what callers are told"):
        reloaded(before, rules, after, BEHIND_EDGE)


def test_a_notice_alone_is_taken_and_words_alone_wait(where: Path) -> None:
    """Who is told of the key alone may say what is heard; and what was promised is still heard."""
    before = read(LISTENS, where)
    assert taken(before, with_keys("prompts", 'notice = "prompts/fr/notice.wav"', LISTENS)).waits == {}
    words = taken(before, OTHER_WORDS)
    assert words.waits == {"refusal.keywords": "the detector has begun with it"}
    assert words.config.refusal == before.refusal
    promising = with_keys("prompts", 'notice = "prompts/fr/notice_voice.wav"', NOBODY)
    with pytest.raises(ConfigError, match=UNHEARD):
        taken(read(NOBODY, where), promising)


def test_a_default_engine_that_could_not_be_loaded_waits_for_nothing(where: Path) -> None:
    """The next start tries again. Until then a reload takes other words and other notices, as without it."""
    before = keys_alone(read(SMALL, where))
    text = with_keys("refusal", 'keywords = ["je refuse"]', SMALL)
    after = taken(before, with_keys("prompts", 'notice = "prompts/fr/notice_opt_in.wav"', text))
    assert (after.waits, after.config.refusal.engine) == ({}, "none")
    with pytest.raises(ConfigError, match="which nobody hears: refusal"):
        taken(before, LISTENS)
    vosk = taken(before, with_keys("refusal", 'engine = "vosk"', SMALL))
    assert vosk.waits.keys() == {"refusal.engine"}


def test_where_nobody_listens_words_are_nothing(where: Path) -> None:
    """The mode, too, is then a rule like others."""
    text = with_keys("refusal", 'keywords = ["non merci"]\nmode = "opt_in"', NOBODY)
    after = taken(read(NOBODY, where), text)
    assert (after.waits, after.rules.policy.opt_in) == ({}, True)


def test_what_is_listened_for_waits_as_a_whole_and_the_contract_reloads_to_itself() -> None:
    assert {key for key in BEHIND_EDGE if key.startswith("refusal.")} == set(LISTENED_FOR)
    assert waiting(read(CONTRACT), read(CONTRACT), ALONE) == {}
