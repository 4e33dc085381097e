"""The entry for the register: each key that matters moves it; nothing that is off is claimed."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.prompt import PromptFile
from retention.vault import PublicKey
from sipagent.config.load import Config
from sipagent.text.notice import SpokenNotice
from sipagent.text.register import RegisterEntry, Statement, entry
from sipagent.text.register_file import Written, differences, read, renewed
from sipagent.text.register_words import LANGUAGES, markdown
from tests.configured import CONTRACT, with_keys
from tests.configured import read as configured
from tests.test_docs import KEYS

OFFICE = with_keys("retention", "erase_after_note = false", CONTRACT)
COMPLETE = with_keys(
    "service",
    'controller_contact = "mairie@ville.fr"\ndpo_contact = "dpo@ville.fr"\nlegal_basis = "article 6(1)(e)"',
    with_keys("recording", 'recipients = ["keys/a.pub"]\njustification = "a trial of one month"', OFFICE),
)

ISSUER = "https://login.ville.fr"
BY_PROVIDER = f'oidc_issuer = "{ISSUER}"\noidc_client_id = "a"\noidc_client_secret_file = "b"'
ENROL = 'extension = "900"\ncolleagues = { "201" = "Ann" }\nkeep_days = 180'
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
    "trunk.srtp": '"required"',
    "prompts.notice": '"prompts/fr/another.wav"',
    "prompts.languages": '{ "+33323063006" = "en" }',
    "prompts.choices": '{ "2" = "en" }',
    "refusal.mode": '"opt_in"',
    "refusal.digit": '"8"',
    "refusal.accept_digit": '"2"',
    "refusal.window_s": "7.5",
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
    "enrol.extension": '"901"',
    "enrol.colleagues": '{ "201" = "Ann", "202" = "Zoé" }',
    "enrol.keep_days": "90",
}
# Keys that count only where another is set.
NEEDED = {
    "refusal.accept_digit": (("refusal", 'mode = "opt_in"'),),
    "refusal.accept_keywords": (("refusal", 'mode = "opt_in"'),),
    "refusal.in_call_keywords": (("refusal", 'in_call = "key+voice"'),),
    "retention.timestamp_url": (("retention", 'timestamp_ca = "tsa.pem"'),),
    "prompts.choices": (("prompts", 'choose = "choose.wav"\nchoices = { "2" = "fr" }'),),
    "retention.database": (
        ("retention", 'database = "postgresql://localhost/sipagent"'),
        ("cluster", 'host = "a"'),
    ),
    "objects.endpoint": (("objects", 'url = "s3://calls"'),),
    "objects.region": (("objects", 'url = "s3://calls"'),),
    "web.trusted_proxies": (("web", IN_CLEAR),),
    "web.oidc_roles": (("web", BY_PROVIDER),),
    **dict.fromkeys(("enrol.extension", "enrol.colleagues", "enrol.keep_days"), (("enrol", ENROL),)),
    **dict.fromkeys(
        (f"recording.window.{key}" for key in ("days", "hours", "share")),
        (("recording", 'window = [{ days = "mon", hours = "09:00-10:00", share = 0.5 }]'),),
    ),
}
# What says nothing of who, what for, how long and how protected. A key of neither list is to be decided.
SILENT = {
    *("service.timezone", "service.country"),
    *("trunk.uri", "trunk.registrar", "trunk.username", "trunk.password_file", "trunk.password_env"),
    *(
        "trunk.realm",
        "trunk.listen",
        "trunk.public_address",
        "trunk.shared_address",
        "trunk.rtp_ports",
        "trunk.allowed_sources",
        "trunk.media_sources",
    ),
    *("trunk.codecs", "hours.week", "hours.holidays", "hours.closed"),
    *("prompts.welcome", "prompts.refused", "prompts.confirm", "prompts.closed", "prompts.unavailable"),
    *("prompts.hold_music", "prompts.please_hold", "prompts.choose"),
    *("refusal.vosk_model", "refusal.heads", "refusal.second"),
    *("operators.extensions", "operators.username", "operators.password_file", "operators.password_env"),
    *("operators.outbound_proxy", "operators.strategy", "operators.ring_s", "operators.max_wait_s"),
    *("operators.alert_info_recorded", "operators.alert_info_not_recorded", "operators.recording_header"),
    *("operators.wrap_up_s", "operators.transfer", "operators.refer_targets", "operators.transfer_targets"),
    *("operators.flag_code", "recording.directory", "recording.format"),
    *(
        "capacity.calls",
        "capacity.calls_per_process",
        "capacity.full_status",
        "capacity.media_timeout_s",
        "metrics.listen",
    ),
    *("retention.database_password_file", "retention.timestamp_ca", "objects.credentials_file"),
    *("cluster.host", "cluster.journal", "cluster.lease_s"),
    *("edge.start", "edge.worker_ports", "edge.invites_per_s", "edge.tls_listen"),
    *("edge.certificate", "edge.private_key", "edge.ca", "enrol.folder", "enrol.prompts"),
    *(
        "web.url",
        "web.private_key",
        "web.oidc_client_id",
        "web.oidc_client_secret_file",
        "web.oidc_email_proved",
    ),
}


def with_what_it_needs(key: str) -> str:
    text = COMPLETE
    for table, needed in NEEDED.get(key, ()):
        text = with_keys(table, needed, text)
    return text


def changed(key: str, value: str, text: str = COMPLETE) -> str:
    table, name, *_ = key.split(
        "."
    )  # the value of recording.window.days is that of the whole recording.window
    return with_keys(table, f"{name} = {value}", text)


def notices(config: Config) -> list[SpokenNotice]:
    """As `spoken_notices` gives them; the words tell the file."""
    return [
        SpokenNotice(
            prompts.language,
            tuple(n for n, language in config.prompts.languages.items() if language == prompts.language),
            PromptFile(
                prompts.notice, 8000, 1000, "ab" * 32, f"These are the words of {prompts.notice.name}."
            ),
            tuple(key for key, language in config.prompts.choices.items() if language == prompts.language),
        )
        for prompts in config.prompt_sets()
    ]


def made(text: str = COMPLETE) -> RegisterEntry:
    config = configured(text)
    recipients = [
        PublicKey(sha256(path.name.encode()).digest(), path.stem) for path in config.recording.recipients
    ]
    return entry(config, recipients, notices(config))


def stated(text: str, name: str) -> Statement:
    return next(statement for statement in made(text).statements if statement.name == name)


def on(text: str) -> set[str]:
    """The security measures that are claimed."""
    security: dict[str, dict[str, Any]] = made(text).to_json()["security"]
    return {name for name, measure in security.items() if measure["on"]}


def written(of: RegisterEntry) -> Iterator[Written]:
    """As a file has it, in each form."""
    yield read(renewed(None, of, None))
    for language in LANGUAGES:
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


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("trunk", 'uri = "sip:other@trunk.example.net"\ncodecs = ["PCMA"]\nrtp_ports = "20000-20999"'),
        ("operators", 'extensions = ["sip:205@pbx.example.net"]\nring_s = 30\nflag_code = "*8"'),
        ("recording", 'directory = "elsewhere"\nformat = "wav"'),
        ("retention", 'database = "other.db"'),
        ("capacity", "media_timeout_s = 60"),
        ("service", 'timezone = "Europe/Berlin"'),
    ],
)
def test_a_key_that_says_nothing_of_it_leaves_it_as_it_is(table: str, keys: str) -> None:
    assert made(with_keys(table, keys, COMPLETE)) == made()


def test_the_words_of_another_languages_notice_have_their_own_key() -> None:
    now = made(COMPLETE.replace("prompts/en/notice.wav", "prompts/en/other.wav"))
    for file in written(made()):
        assert [one.keys[-1] for one in differences(file, now)] == ["prompts.en.notice"]


# --- both languages ---


def braces(sentence: str) -> set[tuple[str | None, str | None]]:
    return {(name, spec) for _, name, spec, _ in Formatter().parse(sentence) if name is not None}


def test_both_languages_say_the_same() -> None:
    french, english = LANGUAGES["fr"], LANGUAGES["en"]
    assert french.headings.keys() == english.headings.keys()
    assert {name: braces(said) for name, said in french.sentences.items()} == {
        name: braces(said) for name, said in english.sentences.items()
    }
    assert len(french.by_hand) == len(english.by_hand)


def variants() -> Iterator[str]:
    """Configurations that between them say all there is to say."""
    yield COMPLETE
    for key, value in CHANGES.items():
        yield changed(key, value, with_what_it_needs(key))
    for srtp in ("off", "optional", "required"):
        for transport in ("udp", "tls"):
            yield with_keys("trunk", f'srtp = "{srtp}"\ntransport = "{transport}"', COMPLETE)
    yield changed("recording.share", "0.25", changed("recording.justification", '""'))
    yield changed("recording.justification", '""')
    window = changed("recording.window", CHANGES["recording.window.days"])
    yield window
    yield changed("recording.share", "0.25", changed("recording.justification", '""', window))
    yield changed("recording.recipients", "[]")
    yield changed("retention.hold_grounds", "[]")
    yield changed("trunk.numbers", "[]")
    yield with_keys("refusal", 'mode = "opt_in"\nin_call = "key+voice"', COMPLETE)
    yield with_keys("web", IN_CLEAR, COMPLETE)
    yield changed("recording.recipients", "[]", with_keys("web", BY_PROVIDER, COMPLETE))
    for grounds in ("[]", '["criminal"]'):
        yield changed("retention.hold_grounds", grounds, changed("web.listen", '""'))
    for key in ("controller_contact", "dpo_contact", "legal_basis"):
        yield changed(f"service.{key}", '""')
        yield changed(f"service.{key}", '"jo@example.org"')


def test_every_sentence_is_said_by_some_configuration() -> None:
    nameless = entry(configured(COMPLETE), [PublicKey(b"\1" * 32)], [])
    wordless = SpokenNotice("fr", (), PromptFile(Path("notice.wav"), 8000, 1000, "ab" * 32, None))
    by_key = with_keys("prompts", 'languages = {}\nchoose = "c.wav"\nchoices = { "2" = "en" }', COMPLETE)
    entries = [*map(made, variants()), made(by_key), nameless, entry(configured(COMPLETE), [], [wordless])]
    said = {
        "/".join(
            filter(None, (one.name.removesuffix(".fr").removesuffix(".en").removesuffix(".de"), one.how))
        )
        for made_ in entries
        for one in made_.statements
    }
    assert said == set(LANGUAGES["fr"].sentences)
    for made_ in entries:
        for language in LANGUAGES:
            text = markdown(made_, language)
            assert "{" not in text and "None" not in text and "\n\n\n" not in text


def test_the_words_of_the_configuration_are_told_to_the_letter() -> None:
    text = changed("retention.purposes", '["qualité_de_service", "quality"]')
    french, english = (markdown(made(text), language) for language in ("fr", "en"))
    assert "`qualité_de_service`, qualité du service (`quality`)" in french
    assert "`qualité_de_service`, `quality`" in english
    for said in (french, english):
        assert "Communauté d'agglomération du Saint-Quentinois" in said and "dpo@ville.fr" in said
    assert "**Enregistrements**\u00a0: 6\u00a0mois" in french and "**Recordings**: 6 months" in english
    assert "**Fiches d’analyse**\u00a0: 1\u00a0an" in french
    tenth = changed("recording.share", "0.125")
    assert "12,5\u202f% des appels" in markdown(made(tenth), "fr")
    assert "12.5% of the calls" in markdown(made(tenth), "en")


def test_windows_are_told_with_the_share_at_other_times() -> None:
    one = '{ days = ["mon", "thu-fri"], hours = "09:00-10:00,14:00-15:00", share = 0.2 }'
    other = '{ share = 0.05, days = "tue" }'
    text = changed("recording.window", f"[{one}, {other}]", changed("recording.share", "0.0"))
    assert stated(text, "processing.extent").value == {
        "enabled": True,
        "share": 0.0,
        "windows": [
            {"days": ["mon", "thu", "fri"], "hours": "09:00-10:00,14:00-15:00", "share": 0.2},
            {"days": ["tue"], "hours": "00:00-24:00", "share": 0.05},
        ],
        "justification": "a trial of one month",
    }
    assert (
        "**Étendue** : 20 % des appels (lundi, jeudi, vendredi, de 9 h à 10 h, de 14 h à 15 h) ; "
        "5 % des appels (mardi, toute la journée) ; le reste du temps 0 % ;"
    ) in " ".join(markdown(made(text), "fr").split())
    assert "5% of the calls (Tuesday `00:00-24:00`); at other times 0%;" in markdown(made(text), "en")


@pytest.mark.parametrize(
    ("share", "window", "how"),
    [
        ("0.0", '[{ days = "mon", share = 0.0 }]', "off"),
        ("0.0", '[{ days = "mon", share = 1.0 }]', "windows_justified"),
        ("1.0", '[{ days = "mon", share = 1.0 }]', "all_justified"),
        ("1.0", "[{ share = 0.0 }]", "off"),
        ("0.0", "[{ share = 1.0 }]", "all_justified"),
        ("1.0", '[{ days = "mon-fri", share = 0.5 }]', "windows_justified"),
    ],
)
def test_the_extent_is_what_shares_and_windows_make_together(share: str, window: str, how: str) -> None:
    text = changed("recording.window", window, changed("recording.share", share))
    assert stated(text, "processing.extent").how == how
    assert stated(text, "data.voice").value is (how != "off")


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


@pytest.mark.parametrize(
    ("keys", "claimed"),
    [
        ({}, {"sealing", "four_eyes"}),
        (
            {"cluster.host": '"a"', "retention.database": '"postgresql:///a"'},
            {"sealing", "four_eyes", "sealed_rows"},
        ),
        ({"recording.recipients": "[]"}, {"four_eyes"}),
        ({"retention.hold_grounds": "[]"}, {"sealing"}),
        ({"trunk.srtp": '"optional"', "trunk.transport": '"tls"'}, {"sealing", "four_eyes", "signalling"}),
        ({"trunk.srtp": '"required"'}, {"sealing", "four_eyes"}),
        (
            {"trunk.srtp": '"required"', "trunk.transport": '"tls"'},
            {"sealing", "four_eyes", "signalling", "media"},
        ),
        (
            {"retention.timestamp_ca": '"tsa.pem"', "retention.timestamp_url": '"https://tsa.example.net"'},
            {"sealing", "four_eyes", "time_stamps"},
        ),
    ],
)
def test_only_what_is_on_is_claimed(keys: dict[str, str], claimed: set[str]) -> None:
    text = PAGELESS
    for key, value in keys.items():
        text = changed(key, value, text)
    assert on(text) == ALWAYS | claimed
    for language, words in LANGUAGES.items():
        before, after = markdown(made(text), language).split(words.headings["security/off"])
        assert after.count("\n- **") == 6 - len(claimed)
        assert before.split(words.headings["security"])[1].count("\n- **") == len(ALWAYS | claimed)


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        (COMPLETE, set()),
        (changed("recording.recipients", "[]"), {"opened_by_listeners"}),
        (with_keys("web", IN_CLEAR, COMPLETE), set()),
        (
            changed("web.trusted_proxies", '["192.0.2.10"]', with_keys("web", IN_CLEAR, COMPLETE)),
            {"page_line"},
        ),
        (with_keys("web", BY_PROVIDER, COMPLETE), set()),
        (PAGELESS, PAGE),
    ],
)
def test_of_the_page_only_what_the_program_guarantees_is_claimed(text: str, lacks: set[str]) -> None:
    assert on(text) & PAGE == PAGE - lacks


def test_without_a_page_nothing_is_said_of_one_but_that_it_is_not_there() -> None:
    lines = markdown(made(PAGELESS), "en").splitlines()
    (accounts,) = (line for line in lines if line.startswith("- ") and "page" in line)
    assert accounts == "- **Accounts**: none, for there is no page"
    assert made(PAGELESS).to_json()["data"]["accounts"] is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_tells_who_somebody_is_learns_of_each_login(language: str) -> None:
    text = markdown(made(with_keys("web", BY_PROVIDER, COMPLETE)), language)
    (line,) = (line for line in text.splitlines() if "`ecoute-dpo` (`officer`)" in line)
    assert f"`{ISSUER}`" in line
    assert "Argon2id" not in text and "Argon2id" in markdown(made(), language)


def test_keys_of_srtp_that_travel_in_clear_are_told() -> None:
    assert stated(changed("trunk.srtp", '"required"'), "security.media").how == "required"
    assert "its keys go by signalling that the agent does not encrypt" in markdown(
        made(changed("trunk.srtp", '"required"')), "en"
    )


def test_where_nothing_is_recorded_no_voice_is_kept() -> None:
    for key, value in (("recording.enabled", "false"), ("recording.share", "0.0")):
        assert stated(changed(key, value), "data.voice").value is False
        assert "no call is recorded" in markdown(made(changed(key, value)), "en")


def test_keywords_count_only_where_somebody_listens() -> None:
    nobody = changed("refusal.engine", '"none"')
    assert stated(nobody, "rights.by_voice").value == {
        "engine": "none",
        "keywords": [],
        "accept_keywords": [],
        "accept_digit": None,
    }
    assert stated(changed("refusal.in_call", '"key+voice"', nobody), "rights.in_call").value == {
        "digit": "9",
        "keywords": [],
    }


# --- what is to be completed ---


def test_a_configuration_that_says_it_all_leaves_nothing_to_complete() -> None:
    assert made().to_complete == ()
    assert "to be completed" not in markdown(made(), "en")


@pytest.mark.parametrize(
    "value", ['""', '"  "', '"…"', '"dpo@example.org"', '"M. Durand <dpo@mail.example.com>"']
)
@pytest.mark.parametrize("key", ["service.controller_contact", "service.dpo_contact", "service.legal_basis"])
def test_what_is_empty_or_an_example_is_to_be_completed(key: str, value: str) -> None:
    entry_ = made(changed(key, value))
    assert entry_.to_complete == (key,)
    assert entry_.to_json()["to_complete"] == [key]
    assert f"**à compléter** (`{key}`)" in markdown(entry_, "fr")
    assert f"**to be completed** (`{key}`)" in markdown(entry_, "en")


def test_an_address_that_only_looks_like_an_example_is_none() -> None:
    assert made(changed("service.dpo_contact", '"dpo@example-ville.fr"')).to_complete == ()
    assert made(changed("service.dpo_contact", '"dpo@examples.fr"')).to_complete == ()


def test_all_calls_want_a_justification_and_keys_a_name() -> None:
    assert made(changed("recording.justification", '""')).to_complete == ("recording.justification",)
    assert made(changed("recording.share", "0.5", changed("recording.justification", '""'))).to_complete == ()
    config = configured(COMPLETE)
    nameless = entry(config, [PublicKey(b"\1" * 32)], notices(config))
    assert nameless.to_complete == ("recording.recipients",)
    silent = SpokenNotice("fr", (), PromptFile(Path("notice.wav"), 8000, 1000, "ab" * 32, None))
    assert entry(config, [PublicKey(b"\1" * 32, "a")], [silent]).to_complete == ("prompts.notice",)


# --- any text ---

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


def test_the_notice_of_the_service_is_that_of_all_who_press_no_key() -> None:
    """Even where a key leads to it, too."""
    text = with_keys("prompts", 'choose = "choose.wav"\nchoices = { "1" = "fr", "2" = "en" }', COMPLETE)
    text = with_keys("refusal", 'accept_digit = "5"', text)
    how = {one.name: one.how for one in made(text).statements if one.section == "information"}
    assert how["information.notices.fr"] == ""
    assert how["information.notices.en"] == "numbers_keys"


def test_which_side_a_person_gets_is_for_the_officer_to_decide() -> None:
    (access,) = (one for one in made().statements if one.name == "rights.access")
    assert access.value == ["both_channels", "caller_channel", "reference", "call_reference"]
    for language, decides in (("fr", "décide le délégué"), ("en", "data protection officer decides")):
        assert decides in LANGUAGES[language].sentences["rights.access"]


def test_what_one_may_listen_for_is_told_whole() -> None:
    """A person may ask, and a hold has its ground; what is opened elsewhere leaves no line here."""
    for language, access, through in (
        ("fr", "demande d’accès", "par le programme"),
        ("en", "request of access", "through the program"),
    ):
        sentences = LANGUAGES[language].sentences
        assert access in sentences["purposes.uses"] and access in sentences["security.purposes/on"]
        assert through in sentences["security.trace/on"]
