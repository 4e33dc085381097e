"""The register: each key that matters moves its entry; nothing that is off is claimed; the command."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.prompt import PromptFile
from retention.vault import PublicKey, new_pair
from sipagent.config.load import Config
from sipagent.text import LANGUAGES, template
from sipagent.text.notice import SpokenNotice
from sipagent.text.register import RegisterEntry, Statement, entry
from sipagent.text.register_file import RegisterError, Written, differences, lines, markdown, read, renewed
from tests.configured import CONTRACT, with_keys
from tests.configured import read as configured
from tests.office import Office
from tests.room import Room
from tests.test_docs import KEYS
from tests.test_papers import ill_set

OFFICE = with_keys("retention", "erase_after_note = false", CONTRACT)
COMPLETE = with_keys(
    "service",
    'controller_contact = "mairie@ville.fr"\ndpo_contact = "dpo@ville.fr"\nlegal_basis = "article 6(1)(e)"',
    with_keys("recording", 'recipients = ["keys/a.pub"]\njustification = "a trial of one month"', OFFICE),
)

ISSUER = "https://login.ville.fr"
BY_PROVIDER = f'oidc_issuer = "{ISSUER}"\noidc_client_id = "a"\noidc_client_secret_file = "b"'
ENROL = 'extension = "900"\ncolleagues = { "201" = "Ann" }\nkeep_days = 180'
EVENTS = 'webhook = "https://crm.ville.fr/a"\nsecret_file = "secrets/events"'
IN_CLEAR = 'certificate = ""\nprivate_key = ""\nurl = ""'
# A value that is another than in COMPLETE, for every key that the entry rests on.
CHANGES = {
    "service.name": '"Allô Mairie"',
    "service.controller": '"Ville de Laon"',
    "service.controller_contact": '"accueil@ville.fr"',
    "service.dpo_contact": '"donnees@ville.fr"',
    "service.legal_basis": '"article 6(1)(f)"',
    "service.language": '"de"',
    "trunk.numbers": '["+33323063006", "+33323063007", "+33323063008"]',
    "trunk.transport": '"tls"',
    "trunk.srtp": '"optional"\ntransport = "tls"',
    "operators.srtp": '"off"',
    "prompts.notice": '"prompts/fr/another.wav"',
    "prompts.details": '"prompts/fr/more.wav"',
    "refusal.details_digit": '"4"',
    "prompts.languages": '{ "+33323063006" = "en" }',
    "prompts.choices": '{ "2" = "en" }',
    "refusal.mode": '"opt_in"',
    "refusal.digit": '"8"',
    "refusal.accept_digit": '"2"',
    "refusal.window_s": "7.5",
    "trunk.verify_identity": 'true\nidentity_hosts = ["certificates.example.net"]',
    "access.relay": '"another"',
    "access.relay_hours": '{ mon = "10:00-11:00" }',
    "hours.week": '{ tue = "09:00-17:00" }',
    "refusal.engine": '"none"',
    "refusal.keywords": '["non"]',
    "refusal.accept_keywords": '["certainement"]',
    "refusal.in_call": '"key+voice"',
    "refusal.in_call_keywords": '["coupez"]',
    "operators.stop_code": '"*1"',
    "operators.stop_erases": "false",
    "operators.pause_code": '"*2"',
    "recording.enabled": "false",
    "recording.share": "0.1",
    "recording.window.days": '[{ days = "tue", hours = "09:00-10:00", share = 0.5 }]',
    "recording.window.hours": '[{ days = "mon", hours = "09:00-11:00", share = 0.5 }]',
    "recording.window.share": '[{ days = "mon", hours = "09:00-10:00", share = 0.25 }]',
    "recording.window.begin": '[{ days = "mon", hours = "09:00-10:00", share = 0.5, begin = "operator" }]',
    "recording.begin": '"operator"',
    "operators.record_code": '"*4"',
    "recording.justification": '"another"',
    "recording.recipients": '["keys/a.pub", "keys/b.pub"]',
    "retention.period": '"3 months"',
    "retention.justification": '"a reason"',
    "retention.receipts_period": '"1 month"',
    "retention.analysis_period": '"2 years"',
    "retention.erase_after_note": "true",
    "retention.purposes": '["quality"]',
    "retention.hold_grounds": '["criminal"]',
    "retention.timestamp_url": '"https://tsa.example.net"',
    "retention.database": '"postgresql://db-1.ville.fr,db-2.ville.fr/sipagent"',
    "objects.url": '"s3://calls/office"',
    "objects.endpoint": '"https://objects.ville.fr"',
    "objects.region": '"eu-west-3"',
    "web.listen": '""',
    "web.certificate": '""\nprivate_key = ""\nurl = ""',
    "web.trusted_proxies": '["192.0.2.10"]',
    "web.session_minutes": "15",
    "web.oidc_issuer": BY_PROVIDER.removeprefix("oidc_issuer = "),
    "web.oidc_roles": '{ "ecoute" = "supervisor" }',
    "events.webhook": '"https://crm.laon.fr/b"',
    "events.personal": "true",
    "enrol.extension": '"901"',
    "enrol.colleagues": '{ "201" = "Ann", "202" = "Zoé" }',
    "enrol.keep_days": "90",
}
# Keys that count only where another is set.
NEEDED = {
    "access.relay_hours": (("access", 'relay = "relay"'),),
    "hours.week": (("access", 'relay = "relay"\nrelay_hours = { tue = "09:00-17:00" }'),),
    "refusal.details_digit": (("prompts", 'details = "details.wav"'),),
    "refusal.accept_digit": (("refusal", 'mode = "opt_in"'),),
    "refusal.accept_keywords": (("refusal", 'mode = "opt_in"'),),
    "refusal.in_call_keywords": (("refusal", 'in_call = "key+voice"'),),
    "retention.timestamp_url": (("retention", 'timestamp_ca = "tsa.pem"'),),
    "prompts.choices": (("prompts", 'choose = "choose.wav"\nchoices = { "2" = "fr" }'),),
    "retention.database": (
        ("retention", 'database = "postgresql://localhost/sipagent"'),
        ("cluster", 'host = "a"'),
    ),
    "operators.record_code": (("recording", 'begin = "operator"'),),
    "operators.srtp": (("trunk", 'srtp = "optional"'),),
    "objects.endpoint": (("objects", 'url = "s3://calls"'),),
    "objects.region": (("objects", 'url = "s3://calls"'),),
    "web.trusted_proxies": (("web", IN_CLEAR),),
    "web.oidc_roles": (("web", BY_PROVIDER),),
    **dict.fromkeys(("events.webhook", "events.personal"), (("events", EVENTS),)),
    **dict.fromkeys(("enrol.extension", "enrol.colleagues", "enrol.keep_days"), (("enrol", ENROL),)),
    **dict.fromkeys(
        (f"recording.window.{key}" for key in ("days", "hours", "share", "begin")),
        (("recording", 'window = [{ days = "mon", hours = "09:00-10:00", share = 0.5 }]'),),
    ),
}
# What says nothing of who, what for, how long and how protected. A key of neither list is to be decided.
SILENT = {
    *("service.timezone", "service.country"),
    *("trunk.uri", "trunk.registrar", "trunk.username", "trunk.password_file", "trunk.password_env"),
    *("trunk.realm", "trunk.listen", "trunk.public_address", "trunk.shared_address", "trunk.rtp_ports"),
    *("trunk.allowed_sources", "trunk.media_sources", "trunk.codecs", "trunk.identity_certificates"),
    *("trunk.identity_hosts", "trunk.identity_roots", "trunk.identity_fresh_s"),
    *("trunk.listen_ipv6", "trunk.public_address_ipv6"),
    *("hours.holidays", "hours.closed"),
    *("prompts.welcome", "prompts.refused", "prompts.confirm", "prompts.closed", "prompts.unavailable"),
    *("prompts.hold_music", "prompts.please_hold", "prompts.choose", "prompts.messages"),
    *("web.logo", "web.colour"),
    *("refusal.vosk_model", "refusal.heads", "refusal.second"),
    *("operators.extensions", "operators.username", "operators.password_file", "operators.password_env"),
    *("operators.outbound_proxy", "operators.strategy", "operators.ring_s", "operators.max_wait_s"),
    *("operators.alert_info_recorded", "operators.alert_info_not_recorded", "operators.recording_header"),
    *(
        "operators.say_position",
        "operators.wrap_up_s",
        "operators.transfer",
        "operators.refer_targets",
        "operators.transfer_targets",
    ),
    *("operators.flag_code", "recording.directory", "recording.format", "metrics.listen"),
    *("capacity.calls", "capacity.calls_per_process", "capacity.full_status", "capacity.media_timeout_s"),
    *("retention.database_password_file", "retention.timestamp_ca", "objects.credentials_file"),
    *("cluster.host", "cluster.journal", "cluster.lease_s"),
    *("edge.start", "edge.worker_ports", "edge.invites_per_s", "edge.tls_listen"),
    *("edge.certificate", "edge.private_key", "edge.ca", "enrol.folder", "enrol.prompts"),
    *("web.url", "web.private_key", "web.oidc_client_id", "web.oidc_client_secret_file"),
    *("web.oidc_email_proved", "events.secret_file", "events.allow_private"),
}


def changed(key: str, value: str, text: str = COMPLETE) -> str:
    """The value of `recording.window.days` is that of the whole `recording.window`."""
    table, name, *_ = key.split(".")
    return with_keys(table, f"{name} = {value}", text)


def with_what_it_needs(key: str) -> str:
    text = COMPLETE
    for table, needed in NEEDED.get(key, ()):
        text = with_keys(table, needed, text)
    return text


def prompt(name: str, words: str | None) -> PromptFile:
    return PromptFile(Path(name), 8000, 1000, "ab" * 32, words)


def notices(config: Config) -> list[SpokenNotice]:
    """As `spoken_notices` gives them; the words tell the file."""
    return [
        SpokenNotice(
            one.language,
            tuple(n for n, language in config.prompts.languages.items() if language == one.language),
            prompt(one.notice.name, f"These are the words of {one.notice.name}."),
            tuple(key for key, language in config.prompts.choices.items() if language == one.language),
            prompt(one.details.name, f"These are the words of {one.details.name}.") if one.details else None,
        )
        for one in config.prompt_sets()
    ]


def made(text: str = COMPLETE) -> RegisterEntry:
    config = configured(text)
    recipients = [
        PublicKey(sha256(path.name.encode()).digest(), path.stem) for path in config.recording.recipients
    ]
    return entry(config, recipients, notices(config))


def stated(text: str, name: str) -> Statement:
    return next(statement for statement in made(text).statements if statement.name == name)


def said(text: str, language: str) -> str:
    """The entry, with plain spaces."""
    return re.sub("[\u00a0\u202f]", " ", markdown(made(text), language))


def written(of: RegisterEntry) -> Iterator[Written]:
    """As a file has it, in each form."""
    for language in (None, *LANGUAGES):
        yield read(renewed(None, of, language))


# --- every key ---


def test_every_key_is_either_of_the_entry_or_not() -> None:
    assert set(CHANGES) | SILENT == KEYS
    assert not set(CHANGES) & SILENT


@pytest.mark.parametrize("key", CHANGES)
def test_a_key_that_has_moved_on_is_named(key: str) -> None:
    before = with_what_it_needs(key)
    now = made(changed(key, CHANGES[key], before))
    for file in written(made(before)):
        named = {named for difference in differences(file, now) for named in difference.keys}
        assert key in named, file.language


def test_the_words_of_another_languages_notice_have_their_own_key() -> None:
    now = made(COMPLETE.replace("prompts/en/notice.wav", "prompts/en/other.wav"))
    for file in written(made()):
        assert [one.keys[-1] for one in differences(file, now)] == ["prompts.en.notice"]


# --- both languages ---


def encrypted(srtp: str, text: str) -> str:
    """With keys that nobody reads: the trunk and all phones speak TLS."""
    by_tls = 'outbound_proxy = "sip:pbx.example.net;transport=tls"'
    return with_keys("operators", by_tls, with_keys("trunk", f'srtp = "{srtp}"\ntransport = "tls"', text))


def variants() -> Iterator[str]:
    """Configurations that between them say all there is to say."""
    yield COMPLETE
    for key, value in CHANGES.items():
        yield changed(key, value, with_what_it_needs(key))
    for transport in ("udp", "tls"):
        yield with_keys("trunk", f'srtp = "optional"\ntransport = "{transport}"', COMPLETE)
    for srtp in ("optional", "required"):
        yield encrypted(srtp, COMPLETE)
    yield changed("recording.share", "0.25", changed("recording.justification", '""'))
    yield changed("recording.justification", '""')
    window = changed("recording.window", CHANGES["recording.window.days"])
    yield window
    yield changed("recording.share", "0.25", changed("recording.justification", '""', window))
    for justified in ('"a reason"', '""'):
        yield changed("recording.justification", justified, changed("recording.begin", '"operator"'))
    yield changed("recording.window", CHANGES["recording.window.begin"])
    yield changed("recording.recipients", "[]")
    yield changed("retention.hold_grounds", "[]")
    yield changed("trunk.numbers", "[]")
    yield with_keys("refusal", 'mode = "opt_in"\nin_call = "key+voice"', COMPLETE)
    yield with_keys("web", IN_CLEAR, COMPLETE)
    yield with_keys("prompts", 'details = "details.wav"', COMPLETE)
    yield changed("recording.recipients", "[]", with_keys("web", BY_PROVIDER, COMPLETE))
    yield with_keys("prompts", 'languages = {}\nchoose = "c.wav"\nchoices = { "2" = "en" }', COMPLETE)
    for grounds in ("[]", '["criminal"]'):
        yield changed("retention.hold_grounds", grounds, changed("web.listen", '""'))
    for key in ("controller_contact", "dpo_contact", "legal_basis"):
        yield changed(f"service.{key}", '""')
        yield changed(f"service.{key}", '"jo@example.org"')


def entries() -> Iterator[RegisterEntry]:
    yield from map(made, variants())
    yield entry(configured(COMPLETE), [PublicKey(b"\1" * 32)], [])  # a key without a name
    yield entry(configured(COMPLETE), [], [SpokenNotice("fr", (), prompt("notice.wav", None))])


def test_both_languages_say_the_same_and_each_sentence_once_for_some_configuration() -> None:
    """An entry has a line for each of its statements, and no line of a template stays unsaid."""
    french, english = (template(f"register.{language}.txt") for language in LANGUAGES)
    assert [*map(braces, french.places)] == [*map(braces, english.places)]
    unsaid = {(name, how) for name, ways in french.places if name for how in ways}
    for one in entries():
        for language in LANGUAGES:
            text = markdown(one, language)
            assert "{" not in text and "None" not in text and "\n\n\n" not in text
            assert [line.keys for line in lines(one, language) if line.keys] != []
            facts = [(fact.said_as, fact.how, fact) for fact in one.statements]
            told = [fact for _, fact in template(f"register.{language}.txt").said(facts) if fact]
            assert sorted(fact.name for fact in told) == sorted(fact.name for fact in one.statements)
        unsaid -= {(fact.said_as, fact.how) for fact in one.statements}
    assert unsaid == set()


def braces(place: tuple[str, dict[str, str]]) -> tuple[str, dict[str, set[tuple[str | None, str | None]]]]:
    """What is filled in, in each way to say a fact, and how it is written."""
    name, ways = place
    return name, {
        how: {(one, spec) for _, one, spec, _ in Formatter().parse(text)} for how, text in ways.items()
    }


def test_french_is_set_as_french_is() -> None:
    for text in variants():
        own = text.replace("d'agg", "d’agg").replace("J'écoute", "J’écoute")
        own = changed("service.name", '"Agglo J’écoute"', own)
        assert ill_set(markdown(made(own), "fr")) == []


def test_the_extent_is_what_shares_and_windows_make_together() -> None:
    for share, window, how in (
        ("0.0", '[{ days = "mon", share = 0.0 }]', "off"),
        ("0.0", '[{ days = "mon", share = 1.0 }]', "windows_justified"),
        ("1.0", '[{ days = "mon", share = 1.0 }]', "all_justified"),
        ("1.0", "[{ share = 0.0 }]", "off"),
        ("0.0", "[{ share = 1.0 }]", "all_justified"),
        ("1.0", '[{ days = "mon-fri", share = 0.5 }]', "windows_justified"),
        ("0.0", "[]", "off"),
    ):
        text = changed("recording.window", window, changed("recording.share", share))
        assert stated(text, "processing.extent").how == how
        assert stated(text, "data.voice").value is (how != "off")
        off = changed("recording.enabled", "false", text)
        assert stated(off, "processing.extent").how == "off" and stated(off, "data.voice").value is False


def test_days_are_named_in_the_language_of_the_entry() -> None:
    text = with_keys("access", 'relay = "x"\nrelay_hours = { mon = "09:00-10:30" }', COMPLETE)
    assert "(lundi, de 9 h à 10 h 30)" in said(text, "fr")
    assert "(Monday `09:00-10:30`)" in markdown(made(text), "en")


def test_the_json_knows_no_language() -> None:
    json_ = made().to_json()
    german = made(changed("service.language", '"de"')).to_json()
    assert german.pop("information")["notices"].keys() == {"de", "en"}
    assert json_.pop("information")["notices"].keys() == {"fr", "en"}
    assert json_ == german
    assert json_["format"] == "sipagent-register-1"
    assert json_["controller"] == {
        "name": "Communauté d'agglomération du Saint-Quentinois",
        "contact": "mairie@ville.fr",
    }
    assert json_["retention"]["recordings"] == {"period": "6 months", "justification": None}
    assert json_["recipients"]["listeners"] == [
        {"name": "a", "key": sha256(sha256(b"a.pub").digest()).hexdigest()[:16]}
    ]


# --- nothing is claimed that is off ---

ALWAYS = {"fail_closed", "stopping", "pausing", "purposes", "trace", "purge", "chain"}
PAGE = {"logins", "page_line", "opened_by_listeners"}
PAGELESS = changed("web.listen", '""')
TLS = {"trunk.transport": '"tls"'}
PHONES = {"operators.outbound_proxy": '"sip:pbx.example.net;transport=tls"'}
STAMPED = {"retention.timestamp_ca": '"tsa.pem"', "retention.timestamp_url": '"https://tsa.example.net"'}
BASE = {"cluster.host": '"a"', "retention.database": '"postgresql:///a"'}


@pytest.mark.parametrize(
    ("keys", "claimed"),
    [
        ({}, {"sealing", "four_eyes"}),
        (BASE, {"sealing", "four_eyes", "sealed_rows"}),
        ({"recording.recipients": "[]"}, {"four_eyes"}),
        ({"retention.hold_grounds": "[]"}, {"sealing"}),
        ({"trunk.srtp": '"optional"', **TLS}, {"sealing", "four_eyes", "signalling"}),
        (
            {"trunk.srtp": '"required"', "operators.srtp": '"off"', **TLS},
            {"sealing", "four_eyes", "signalling"},
        ),
        ({"trunk.srtp": '"required"', **PHONES, **TLS}, {"sealing", "four_eyes", "signalling", "media"}),
        (STAMPED, {"sealing", "four_eyes", "time_stamps"}),
    ],
)
def test_only_what_is_on_is_claimed(keys: dict[str, str], claimed: set[str]) -> None:
    text = PAGELESS
    for key, value in keys.items():
        text = changed(key, value, text)
    security: dict[str, Any] = made(text).to_json()["security"]
    assert {name for name, measure in security.items() if measure["on"]} == ALWAYS | claimed
    for language, on, off in (
        ("fr", "## Mesures de sécurité", "## Mesures que la configuration ne met pas"),
        ("en", "## Security measures in place", "## What the configuration does not put in place"),
    ):
        before, after = said(text, language).split(off)
        assert after.count("\n- **") == 6 - len(claimed)
        assert before.split(on)[1].count("\n- **") == len(ALWAYS | claimed)


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        (COMPLETE, PAGE),
        (changed("recording.recipients", "[]"), PAGE - {"opened_by_listeners"}),
        (with_keys("web", IN_CLEAR, COMPLETE), PAGE),
        (with_keys("web", f'{IN_CLEAR}\ntrusted_proxies = ["192.0.2.10"]', COMPLETE), PAGE - {"page_line"}),
        (with_keys("web", BY_PROVIDER, COMPLETE), PAGE),
        (PAGELESS, set()),
    ],
)
def test_of_the_page_only_what_the_program_guarantees_is_claimed(text: str, claimed: set[str]) -> None:
    security: dict[str, Any] = made(text).to_json()["security"]
    assert {name for name in PAGE & security.keys() if security[name]["on"]} == claimed


def test_keywords_count_only_where_somebody_listens() -> None:
    nobody = changed("refusal.in_call", '"key+voice"', changed("refusal.engine", '"none"'))
    unheard: Any = {"engine": "none", "keywords": [], "accept_keywords": [], "accept_digit": None}
    assert stated(nobody, "rights.by_voice").value == unheard
    assert stated(nobody, "rights.in_call").value == {"digit": "9", "keywords": []}


# --- what is to be completed ---


def test_what_is_empty_or_an_example_is_to_be_completed() -> None:
    for key in ("service.controller_contact", "service.dpo_contact", "service.legal_basis"):
        for value in ("", "  ", "…", "dpo@example.org", "M. Durand <dpo@mail.example.com>"):
            text = changed(key, f'"{value}"')
            assert made(text).to_complete == (key,) and made(text).to_json()["to_complete"] == [key]
            assert f"**à compléter** (`{key}`)" in said(text, "fr")
            assert f"**to be completed** (`{key}`)" in said(text, "en")


def test_what_wants_a_justification_a_name_or_its_words() -> None:
    assert made().to_complete == () and "to be completed" not in said(COMPLETE, "en")
    for address in ("dpo@example-ville.fr", "dpo@examples.fr"):  # which only look like examples
        assert made(changed("service.dpo_contact", f'"{address}"')).to_complete == ()
    unjustified = changed("recording.justification", '""')
    assert made(unjustified).to_complete == ("recording.justification",)
    assert made(changed("recording.share", "0.5", unjustified)).to_complete == ()
    config = configured(COMPLETE)
    assert entry(config, [PublicKey(b"\1" * 32)], notices(config)).to_complete == ("recording.recipients",)
    silent = SpokenNotice("fr", (), prompt("notice.wav", None))
    assert entry(config, [PublicKey(b"\1" * 32, "a")], [silent]).to_complete == ("prompts.notice",)


# --- a file, read again ---

TEXTS = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" `*_<>[]|\\{}#&"), min_size=1
)


@given(TEXTS, TEXTS, TEXTS)
def test_any_text_is_found_again(name: str, purpose: str, ground: str) -> None:
    quoted = [json.dumps(f"a{text}z", ensure_ascii=False) for text in (name, purpose, ground)]
    text = changed("service.name", quoted[0])
    text = changed("retention.purposes", f"[{quoted[1]}]", text)
    text = changed("retention.hold_grounds", f"[{quoted[2]}]", text)
    now = made(text)
    for file in written(now):
        assert differences(file, now) == []


def test_a_value_altered_added_or_taken_away() -> None:
    whole = made().to_json()
    for other, where in (
        (whole | {"legal_basis": "none"}, "legal_basis"),
        (whole | {"invented": {"by": "somebody"}}, "invented.by"),
        ({key: value for key, value in whole.items() if key != "retention"}, "retention.recordings"),
        (whole | {"retention": "6 months"}, "retention.recordings"),
    ):
        assert where in {one.where for one in differences(read(json.dumps(other)), made())}


BEGIN, END = "<!-- sipagent register: fr -->\n", "<!-- sipagent register: end -->\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("# Register\n", "holds no entry that `sipagent register` wrote"),
        ("{", "is not JSON: "),
        ("[]", "holds no entry"),
        ("{}", "is JSON, but its format is not sipagent-register-1"),
        (BEGIN.replace("fr", "de") + END, "is in 'de'; accepted: fr, en"),
        (BEGIN, "has not one first and one last line of an entry"),
        (END + BEGIN, "has not one first"),
        ((BEGIN + END) * 2, "has not one first"),
    ],
)
def test_what_is_no_entry(content: str, complaint: str) -> None:
    with pytest.raises(RegisterError, match=re.escape(complaint)):
        read(content)


# --- the command ---

LACKS = "to be completed in the configuration"


@pytest.fixture
def room(room: Room) -> Room:
    room.set("service", 'controller_contact = "mairie@ville.fr"\ndpo_contact = "dpo@ville.fr"')
    room.set("recording", 'justification = "a trial of one month"')
    return room


@pytest.fixture
def office(room: Room, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(room.folder, capsys)


def test_it_is_printed_in_the_services_language(room: Room, office: Office) -> None:
    french = office.run("register")
    assert (french.code, french.err) == (0, "")
    assert french.out.startswith(
        "<!-- sipagent register: fr -->\n# Enregistrement des appels\u00a0: Agglo J'écoute\n"
    )
    assert "«\u00a0Agglo J’écoute, bonjour. Votre appel peut être enregistré, pour la qualité" in french.out
    assert "# Call recording: Agglo" in office.run("register", "--lang", "en").out
    printed = office.run("register", "--json").out
    assert json.loads(printed)["dpo"] == {"contact": "dpo@ville.fr"}
    assert office.run("register", "--format", "json").out == printed
    room.set("service", 'language = "de"')
    room.set("prompts", 'notice = "prompts/fr/notice.wav"')
    assert "# Call recording: Agglo" in office.run("register").out


def test_the_keys_and_notices_that_it_names(room: Room, office: Office) -> None:
    new_pair(room.folder / "keys/durand", None, "Marie Durand")
    room.set("recording", 'recipients = ["keys/durand.pub"]')
    assert "**Écoute**, par clé privée\u00a0: Marie Durand (`" in office.run("register").out
    (room.folder / "keys/durand.pub").write_text("nonsense")
    assert "durand.pub: is not a public key" in office.fails(1, "register")
    room.set("recording", "recipients = []")
    (room.folder / "prompts/fr/notice.wav").unlink()
    assert "notice.wav: does not exist" in office.fails(1, "register")


def test_what_is_lacking_is_a_warning_and_fails_a_strict_check(room: Room, office: Office) -> None:
    room.set("service", 'legal_basis = ""')
    file, said = office.folder / "register.md", f"sipagent: {LACKS}: service.legal_basis\n"
    printed = office.run("register")
    assert (printed.code, printed.err) == (0, said)
    assert "**à compléter** (`service.legal_basis`)" in printed.out
    office.run("register", "--out", file)
    for options, code in ((), 0), (("--strict",), 1):
        told = office.run("register", "--check", file, *options)
        assert (told.code, told.err) == (code, said)
    for words, complaint in (
        (("--check", "x.md", "--out", "y.md"), "--check knows format and language by FILE"),
        (("--strict",), "--strict goes with --check"),
        (("--force",), "--force goes with --out"),
        (("--json", "--format", "md"), "exclude each other"),
        (("--lang", "de"), "'de' is not one of 'fr', 'en'"),
    ):
        assert complaint in office.fails(2, "register", *words)


def test_a_file_is_written_by_its_name_and_the_entry_in_a_longer_one_renewed(
    room: Room, office: Office
) -> None:
    file, as_json = office.folder / "register.md", office.folder / "register.json"
    assert office.run("register", "--out", as_json).out == f"{as_json}\n"
    assert json.loads(as_json.read_text(encoding="utf-8"))["format"] == "sipagent-register-1"
    office.run("register", "--lang", "en", "--out", file)
    english = office.run("register", "--lang", "en").out
    assert file.read_text(encoding="utf-8") == english
    file.write_text(f"# All that we do\n\n{english}\nSigned by the mayor\n", encoding="utf-8")
    room.set("retention", 'period = "90 days"')
    assert office.run("register", "--out", file).code == 0
    renewed = file.read_text(encoding="utf-8")
    assert renewed.startswith("# All that we do\n\n<!--") and renewed.endswith("-->\n\nSigned by the mayor\n")
    assert "**Recordings**: 90 days" in renewed  # in the language that it had
    assert not list(office.folder.glob(".*"))
    other, options = office.folder / "notes.md", ("register", "--out", office.folder / "notes.md")
    other.write_text("mine")
    said = office.fails(1, *options)
    assert "holds no entry that `sipagent register` wrote; --force replaces it" in said
    assert other.read_text() == "mine" and office.run(*options, "--force").code == 0
    assert "is of the other format; --force replaces it" in office.fails(1, *options, "--format", "json")
    assert "No such file" in office.fails(1, "register", "--out", office.folder / "missing/register.md")


def test_a_file_that_has_fallen_behind(room: Room, office: Office) -> None:
    file = office.folder / "register.md"
    assert "No such file" in office.fails(1, "register", "--check", file)
    file.write_bytes(b"\xff")
    assert "is not UTF-8 text" in office.fails(1, "register", "--check", file)
    office.run("register", "--out", file, "--force")
    current = office.run("register", "--check", file)
    assert (current.code, current.out, current.err) == (0, f"{file}: agrees with the configuration\n", "")
    room.set("retention", 'period = "90 days"')
    behind = office.run("register", "--check", file)
    assert behind.code == 1
    assert behind.err == (
        f"sipagent: {file}: differs from the configuration in 1 statement; "
        f"`sipagent register --out {file}` renews it\n"
    )
    assert "(retention.period, retention.justification):\n  - " in behind.out and "+ " in behind.out
    told = office.run("register", "--check", file, "--json")
    found = json.loads(told.out)
    (one,) = found.pop("differences")
    same = {"file": str(file), "format": "md", "language": "fr", "current": False, "to_complete": []}
    assert told.code == 1 and found == same
    assert one["where"].startswith("line ") and one["keys"][0] == "retention.period"
    assert one["file"] == "- **Enregistrements**\u00a0: 6\u00a0mois à compter de l’appel"
    assert one["now"] == "- **Enregistrements**\u00a0: 90\u00a0jours à compter de l’appel"
