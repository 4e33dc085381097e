"""Prompts that say and sound as they must, and each way in which they do not."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from prompts.speak import READ_MORE, Script, with_read_more
from sipagent.call import events as e
from sipagent.check.notice import VOCABULARIES, lint, missing_words, prompt_findings
from sipagent.config.errors import Finding
from sipagent.config.load import ConfigError
from sipagent.service.rules import rules_of
from tests.configured import SMALL, read, with_keys
from tests.room import Room

GOOD = {
    "fr": "Agglo J'écoute, bonjour. Votre appel est enregistré pour la qualité, les statistiques et "
    "l'organisation, et conservé six mois au plus. Pour refuser, appuyez sur la touche 9, à tout moment. "
    "Merci de votre appel.",
    "en": "Agglo J'écoute. Your call is recorded for quality, statistics and organisation, and kept for six "
    "months. To refuse, press 9 at any time. This makes no difference to how we answer you.",
}
KEY = "appuyez sur la touche 9"
LONG = "conservé six mois au plus"
DAY = '"08:30-12:00,13:30-17:30"'
OFFICE_HOURS = f"""week = {{ {", ".join(f"{day} = {DAY}" for day in ("mon", "tue", "wed", "thu", "fri"))} }}
holidays = "FR\""""

CURE = "`python -m prompts.speak --read-more PLACE`"
REST = "where the rest of GDPR article 13 can be read"
NO_REST = ("warning", f"its words do not say {REST} ({CURE})")
EXAMPLE = ("warning", f"says an example of {REST}: put yours there ({CURE})")
UNHEARD = ("error", 'promises a spoken refusal, which nobody hears: refusal.engine is "none"')


def findings(room: Room, name: str = "notice", language: str = "fr") -> list[Finding]:
    return [finding for finding in lint(room.config()) if finding.what == f"prompts.{name} ({language})"]


def wrong(room: Room, name: str = "notice", language: str = "fr") -> list[tuple[str, str]]:
    """But for where the rest can be read, which has a test of its own."""
    found = [(finding.level, finding.detail) for finding in findings(room, name, language)]
    return [one for one in found if one[0] != "ok" and one not in (NO_REST, EXAMPLE)]


def by_voice(room: Room, keys: str = "") -> None:
    """Somebody listens, and the notice stays the one that `say` changes."""
    room.set("refusal", f'engine = "embedding"\n{keys}')
    room.set("prompts", 'notice = "prompts/fr/notice.wav"')


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "agent")


@pytest.mark.parametrize("opt_in", [False, True])
@pytest.mark.parametrize("language", ["fr", "en"])
def test_all_that_is_shipped_is_well(room: Room, language: str, opt_in: bool) -> None:
    room.speak(language, opt_in=opt_in)
    room.set("hours", OFFICE_HOURS)
    found = list(lint(room.config()))
    assert [(finding.level, finding.detail) for finding in found if finding.level != "ok"] == [EXAMPLE]
    names = "notice welcome refused confirm closed unavailable hold_music please_hold"
    assert {finding.what.partition(" ")[0] for finding in found} == {
        f"prompts.{one}" for one in names.split()
    }
    details = [finding.detail for finding in found if finding.what.startswith("prompts.notice")]
    key = "says the key that accepts (1)" if opt_in else "says the key that refuses (9)"
    assert key in details and "says how long recordings are kept (6 months)" in details


# --- who, what, and how to refuse ---

WHO, THAT = "who records (Agglo J'écoute)", "that the call is recorded"
MAY, NINE = "that one may refuse", "the key that refuses (9)"


@pytest.mark.parametrize(("words", "missing"), [
    ("Agglo J’écoute. Votre appel est enregistré. Pour refuser, touche 9.", []),
    ("AGGLO J'ECOUTE, appel enregistré, refus : touche neuf", []),
    ("Communauté d’agglomération du Saint-Quentinois : enregistrement, vous refusez par le 9", []),
    ("Bonjour, votre appel est enregistré. Pour refuser, touche 9.", [WHO]),
    ("Agglo J’écoute. Pour refuser, touche 9.", [THAT]),
    ("Agglo J’écoute. Votre appel est enregistré.", [MAY, NINE]),
    ("Agglo J’écoute, appel enregistré. Pour refuser, touche 19.", [NINE]),
    ("Agglo J’écoute, appel enregistré. Pour refuser, le neuvième.", [NINE]),
])  # fmt: skip
def test_the_notice_must_say_who_what_and_how_to_refuse(words: str, missing: list[str]) -> None:
    service = 'name = "Agglo J\'écoute"\ncontroller = "Communauté d\'agglomération du Saint-Quentinois"'
    assert missing_words(read(with_keys("service", service)), words, VOCABULARIES["fr"]) == missing


def test_the_notice_of_opt_in_must_say_how_to_accept() -> None:
    config = read(with_keys("refusal", 'mode = "opt_in"\naccept_digit = "*"', SMALL))
    said = "Office records this call. To refuse, press 9."
    missing = ["that one may accept", "the key that accepts (*)"]
    assert missing_words(config, said, VOCABULARIES["en"]) == missing
    for more in ("If you agree, press star.", "To accept, press *."):
        assert missing_words(config, f"{said} {more}", VOCABULARIES["en"]) == []


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_notice_that_is_good_but_for_one_thing(room: Room, language: str) -> None:
    room.speak(language, opt_in=False)
    for old, new, said in (("", "", ""), ("Agglo J'écoute", "Bonjour", WHO), ("9", "8", NINE)):
        room.say(GOOD[language].replace(old, new), language=language)
        expected = [("error", f"its words do not say {said}")] if said else []
        assert wrong(room, language=language) == expected


KEPT = "says that recordings are kept"


@pytest.mark.parametrize(("old", "new", "level", "detail"), [
    ("Votre appel est enregistré", "Sachez bien ceci", "error", f"its words do not say {THAT}"),
    ("Pour refuser", "Sachez bien ceci", "error", f"its words do not say {MAY}"),
    ("pour la qualité, les statistiques et l'organisation", "Sachez bien ceci", "error",
     "its words do not say what for (statistics, quality, organisation)"),
    (LONG, "conservé deux mois au plus", "error", f"{KEPT} 2 months, but retention.period is 6 months"),
    (LONG, "conservé durant un an", "warning", f"{KEPT} 1 year, but retention.period is 6 months"),
    (f"et {LONG}", "Sachez bien ceci", "error",
     "its words do not say how long recordings are kept, nor where to read more"),
    (LONG, "tout est sur notre site internet", "", ""),
    ("les statistiques", "le reste", "warning", "its words do not say the purpose statistics"),
    ("Merci de votre appel.", "Sinon, l'appel ne sera pas enregistré.", "error",
     "says that who does nothing is not recorded; with refusal.mode objection, silence allows"),
])  # fmt: skip
def test_what_is_missing_or_not_true(room: Room, old: str, new: str, level: str, detail: str) -> None:
    room.say(GOOD["fr"].replace(old, new))
    assert ((level, detail) in wrong(room)) if detail else wrong(room) == []


def test_a_longer_period_at_most_is_true(room: Room) -> None:
    room.set("retention", 'period = "90 days"')
    assert wrong(room) == []
    room.set("retention", 'period = "1 year"\njustification = "a reason"')
    assert wrong(room) == [("error", f"{KEPT} 6 months, but retention.period is 1 year")]


def test_purposes_are_looked_for_by_their_words_and_none_is_said_that_is_not_set(room: Room) -> None:
    room.set("retention", 'purposes = ["quality", "accueil_public"]')
    assert wrong(room) == [
        ("warning", "its words do not say the purpose accueil_public"),
        ("warning", "says the purpose statistics, organisation, which is none of retention.purposes"),
    ]
    room.say(GOOD["fr"].replace("les statistiques et l'organisation", "et l'accueil"))
    assert wrong(room) == []
    room.set("retention", 'purposes = ["statistics", "qualité du service"]')
    room.say(GOOD["fr"].replace("l'organisation", "la preuve"))
    assert wrong(room) == []  # of hold_grounds
    room.set("retention", "hold_grounds = []")
    assert wrong(room) == [("warning", "says the purpose evidence, which is none of retention.purposes")]


def test_opt_in_needs_the_way_to_say_yes(room: Room) -> None:
    room.set("refusal", 'mode = "opt_in"')
    room.set("prompts", 'notice = "prompts/fr/notice.wav"')
    no_key = "its words do not say the key that accepts (1)"
    assert [detail for level, detail in wrong(room) if level == "error"] == [
        "its words do not say that one may accept",
        no_key,
    ]
    room.say(f"{GOOD['fr']} Un opérateur accepte vos questions.")  # neither the key nor its article
    assert ("error", no_key) in wrong(room)
    room.say(f"{GOOD['fr'].replace('touche 9', 'touche 5')} Pour accepter, tapez 1.")
    assert wrong(room) == [("warning", "its words do not say the key that refuses later (9)")]


# --- by voice ---


def test_where_somebody_listens_the_words_to_say_will_do(room: Room) -> None:
    room.say(GOOD["fr"].replace(KEY, "dites je refuse"))
    room.set("refusal", 'engine = "none"')
    assert ("error", f"its words do not say {NINE}") in wrong(room)
    by_voice(room, 'keywords = ["je refuse"]')
    assert [level for level, _ in wrong(room)] == ["warning"]
    assert "says the words to say" in [finding.detail for finding in findings(room)]
    by_voice(room, 'keywords = ["stop"]')
    unknown = "promises a spoken refusal, and what it says to say (je refuse, a tout moment) is none of "
    assert wrong(room) == [
        ("error", f"its words do not say {NINE}"),
        ("error", f"{unknown}refusal.keywords"),
    ]


@pytest.mark.parametrize(("words", "promises"), [
    ("dites « je refuse », ou touche 9", True),
    ("dites : je refuse, ou tapez 9", True),
    ("tapez 9, ou refusez à voix haute", True),
    ("tapez 9 ou dites à l'agent « je refuse »", True),
    ("appuyez sur la touche 9 ou dites-le à votre conseiller", False),
    ("adressez-vous directement à nous, ou touche 9", False),
    ("c'est-à-dire ne pas être enregistré, touche 9", False),
])  # fmt: skip
def test_a_spoken_way_that_nobody_hears_is_an_error_and_stops_run(
    room: Room, words: str, promises: bool
) -> None:
    room.say(GOOD["fr"].replace(KEY, words))
    if not promises:
        assert wrong(room) == []
        rules_of(room.config())
    room.set("refusal", 'engine = "none"')
    assert wrong(room) == [UNHEARD] * promises
    if promises:
        with pytest.raises(
            ConfigError, match=r"config\.toml: prompts: .*notice\.wav promises .* nobody hears"
        ):
            rules_of(room.config())
        by_voice(room)
    rules_of(room.config())


def test_words_to_say_that_are_not_listened_for_stop_run(room: Room) -> None:
    by_voice(room)
    room.say(GOOD["fr"].replace(KEY, "dites « stop », ou touche 9, pour refuser"))
    told = "promises a spoken refusal, and what it says to say (stop) is none of refusal.keywords"
    assert wrong(room)[0] == ("error", told)
    with pytest.raises(ConfigError, match=r"notice\.wav promises .*\(stop\)"):
        rules_of(room.config())


def test_the_confirmation_must_not_promise_it_either(room: Room) -> None:
    room.say("Pour accepter, touche 1. Pour refuser, dites non. Sinon, rien n'est enregistré.", "confirm")
    room.set("refusal", 'engine = "none"')
    assert UNHEARD in wrong(room, "confirm")
    with pytest.raises(ConfigError, match=r"confirm\.wav promises"):
        rules_of(room.config())


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("mode", ["objection", "opt_in"])
@pytest.mark.parametrize("voice", [False, True])
def test_a_shipped_notice_promises_the_key_or_what_to_say_as_well_and_where_the_rest_can_be_read(
    room: Room, language: str, mode: str, voice: bool
) -> None:
    """By what stands in it the flow knows which words count at once; the engine listens in any case. Of the
    rest it names an example, in a sentence that the script puts another place into."""
    room.speak(language, opt_in=mode == "opt_in")
    name = "notice" + "_opt_in" * (mode == "opt_in") + "_voice" * voice
    room.set("prompts", f'notice = "prompts/{language}/{name}.wav"')
    assert wrong(room, language=language) == []
    told = [finding.detail.partition(";")[0] for finding in findings(room, language=language)]
    assert ("says what to say" if voice else "promises a key alone") in told
    wish = e.Wish.ACCEPT if mode == "opt_in" else e.Wish.REFUSE
    assert rules_of(room.config()).policy.promised == ({(language, wish)} if voice else frozenset())

    def of_the_rest(words: str) -> list[tuple[str, str]]:
        room.say(words, name, language)
        return [(one.level, one.detail) for one in findings(room, language=language) if REST in one.detail]

    shipped = room.words(name, language).read_text().strip()
    (informed,) = with_read_more([Script(room.words(name, language), language, shipped)], "la mairie")
    last = READ_MORE[language].format("la mairie")
    assert informed.words.endswith(f" {last}")
    assert of_the_rest(shipped) == [EXAMPLE]
    for words in (informed.words, f"{informed.words} Par exemple, for example."):
        assert of_the_rest(words) == [("ok", f"says {REST}")]
    assert of_the_rest(informed.words.removesuffix(f" {last}")) == [NO_REST]


def test_of_a_notice_that_nobody_can_read_a_yes_counts_by_the_words_in_the_file(room: Room) -> None:
    room.set("service", 'language = "de"')
    room.set("prompts", 'notice = "prompts/fr/notice_opt_in_voice.wav"')
    room.set("refusal", 'mode = "opt_in"')
    assert rules_of(room.config()).policy.promised == frozenset()
    room.set("refusal", 'accept_keywords = ["ja"]')
    assert rules_of(room.config()).policy.promised == {("de", e.Wish.ACCEPT)}


@pytest.mark.parametrize(("phrase", "well"), [
    ("je refuse", False), ("je refuse » ou « ne m’enregistrez pas", True), ("pas de bande", True),
])  # fmt: skip
def test_a_phrase_that_is_heard_less_well_is_a_warning(room: Room, phrase: str, well: bool) -> None:
    by_voice(room, 'keywords = ["je refuse", "ne m\'enregistrez pas", "pas de bande"]')
    room.say(GOOD["fr"].replace(KEY, f"dites « {phrase} », ou touche 9"))
    told = "promises a phrase (je refuse) that is heard less well than another: ne m'enregistrez pas"
    assert wrong(room) == ([] if well else [("warning", told)])


# --- other prompts ---


@pytest.mark.parametrize("name", ["welcome", "refused"])
def test_who_is_not_recorded_is_promised_no_recording(room: Room, name: str) -> None:
    room.say("Bonjour et bienvenue à Agglo J'écoute. Cet appel est enregistré, merci.", name)
    assert wrong(room, name) == [("error", "says that the call is recorded; who hears it is not")]
    room.say("Votre demande est bien enregistrée, nous vous mettons en relation avec elle.", name)
    expected = [("warning", "its words do not confirm that the call is not recorded")]
    assert wrong(room, name) == (expected if name == "refused" else [])


@pytest.mark.parametrize("name", ["closed", "unavailable", "please_hold"])
def test_no_other_prompt_promises_a_recording(room: Room, name: str) -> None:
    room.say(f"{room.words(name).read_text('utf-8')} Cet appel est enregistré.", name)
    assert ("error", "says that the call is recorded; who hears it may not be") in wrong(room, name)


def test_confirm_says_how_to_accept_and_what_else(room: Room) -> None:
    room.say(
        "Nous n'avons pas bien compris. Pour refuser l'enregistrement, appuyez sur la touche 1.", "confirm"
    )
    assert wrong(room, "confirm") == [
        ("warning", "its words do not say that otherwise the call is not recorded"),
        ("warning", "its words do not name refusal.accept_digit 1"),
    ]


@pytest.mark.parametrize(("language", "other"), [("fr", "en"), ("en", "fr")])
def test_the_first_prompt_says_the_keys_that_choose_a_language(room: Room, language: str, other: str) -> None:
    room.speak(language, opt_in=False)
    table = f'choose = "prompts/{language}/choose.wav"\nchoices = {{ "2" = "{other}" }}'
    room.set("prompts", table)
    room.set(f"prompts.{other}", f'notice = "prompts/{other}/notice.wav"')
    assert wrong(room, "choose", language) == wrong(room, language=other) == []
    assert "says the key 2" in [finding.detail for finding in findings(room, "choose", language)]
    room.set("prompts", table.replace("2", "3"))
    assert ("warning", "its words do not say the key 3 of prompts.choices") in wrong(room, "choose", language)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_prompt_with_another_name_is_an_error(room: Room, language: str) -> None:
    room.speak(language, opt_in=False)
    room.set("service", f'name = "Allô Mairie"\nlanguage = "{language}"')
    detail = "says Agglo J'écoute, the name that is shipped; service.name is Allô Mairie"
    for name in ("notice", "welcome", "closed"):
        assert ("error", detail) in wrong(room, name, language)
    for name in ("refused", "confirm", "unavailable"):  # they say none
        assert wrong(room, name, language) == []
    room.say("Allô Mairie, bonjour. Cet appel n'est pas enregistré.", "welcome", language)
    assert [level for level, _ in wrong(room, "welcome", language) if level == "error"] == []


def test_a_greeting_by_another_name_deserves_a_look(room: Room) -> None:
    room.say("Eau Pure, bonjour. Cet appel n'est pas enregistré. Nous vous mettons en relation.", "welcome")
    assert ("warning", "greets callers as Eau Pure; service.name is Agglo J'écoute") in wrong(room, "welcome")


# --- hours ---


def test_hours_that_are_said_are_those_that_are_set(room: Room) -> None:
    said = "says mon-fri, 08:30, 12:00, 13:30, 17:30"
    assert wrong(room, "closed") == [("warning", f"{said}, and hours.week is absent: open day and night")]
    room.set("hours", OFFICE_HOURS)
    assert wrong(room, "closed") == []
    set_hours = "says the hours that are set (mon-fri, 08:30, 12:00, 13:30, 17:30)"
    assert set_hours in [finding.detail for finding in findings(room, "closed")]
    room.set("hours", OFFICE_HOURS.replace('"FR"', "[]"))
    unset = "says that public holidays are closed, and hours.holidays is absent"
    assert wrong(room, "closed") == [("warning", unset)]
    room.set("hours", 'week = { mon = "09:00-12:00", sat = "09:00-12:00" }\nholidays = "FR"')
    assert wrong(room, "closed") == [
        ("warning", "says tue-fri, closed by hours.week"),
        ("warning", "says 08:30, 13:30, 17:30, when hours.week neither opens nor closes"),
        ("warning", "does not say sat, open by hours.week"),
        ("warning", "does not say 09:00 of hours.week"),
    ]


def test_hours_on_the_clock_of_another_place(room: Room) -> None:
    room.speak("en", opt_in=False)
    room.set("hours", OFFICE_HOURS)
    assert wrong(room, "closed", "en") == []
    room.set("service", 'timezone = "Indian/Reunion"\nlanguage = "en"')
    told = ("warning", "says the time of Paris; service.timezone is Indian/Reunion")
    assert wrong(room, "closed", "en") == [told]
    room.set("service", 'timezone = "Indian/Reunion"\nlanguage = "fr"')
    room.write(room.text.replace("prompts/en/closed", "prompts/fr/closed"))
    room.say("Du lundi au vendredi, de 8 heures 30 à 17 heures 30, heure de Paris.", "closed")
    assert told in wrong(room, "closed")


def test_hours_are_looked_for_wherever_they_may_be_told(room: Room) -> None:
    room.say("Personne n'est disponible. Merci de rappeler avant 18 heures, au revoir.", "unavailable")
    room.set("hours", OFFICE_HOURS)
    assert ("warning", "says 18:00, when hours.week neither opens nor closes") in wrong(room, "unavailable")
    room.say(f"{GOOD['fr']} Gardé 24 heures.")
    assert not [detail for _, detail in wrong(room) if "hours" in detail]


# --- sound ---


def test_a_sound_that_lost_its_last_quarter_or_more(room: Room) -> None:
    whole = room.words("notice").read_text("utf-8")
    for words, said in (
        ("Agglo J'écoute. Appel enregistré. Pour refuser, touche 9.", "shorter"),
        (" ".join([GOOD["fr"]] * 3), "longer"),
    ):
        room.say(words)
        level, detail = wrong(room)[0]
        assert level == "error" and detail.startswith(f"its words are {said} than what is heard (")
    path, samples, rate = room.sound()
    room.say(whole)
    soundfile.write(path, samples[: int(len(samples) * 0.75)], rate, subtype="PCM_16")
    level, detail = wrong(room)[0]
    assert level == "warning" and detail.startswith("hard to follow, or not the words that are heard: ")


@pytest.mark.parametrize(("times", "level", "said"), [
    (0.1, "warning", "dBFS where it speaks: -36 to -12 is heard well"),
    (0.002, "error", "so quiet that it is lost on a line"),
    (2.5, "warning", "clipped: 0."),
    (20, "error", "clipped"),
])  # fmt: skip
def test_a_sound_that_is_faint_or_clipped(room: Room, times: float, level: str, said: str) -> None:
    path, samples, rate = room.sound()
    soundfile.write(path, np.clip(samples * times, -1, 1), rate, subtype="PCM_16")
    assert [one for one, detail in wrong(room) if said in detail] == [level]


def test_files_that_are_not_what_they_must_be(room: Room) -> None:
    path, _, _ = room.sound()
    path.with_suffix(".txt").unlink()
    path.with_name("closed.txt").unlink()
    assert wrong(room)[0][0] == "error" and "so nobody can check them" in wrong(room)[0][1]
    assert wrong(room, "closed")[0][0] == "warning"
    path.unlink()
    ((level, detail),) = wrong(room)
    assert level == "error" and "does not exist" in detail


# --- languages ---


def test_a_language_that_nobody_has_listed(room: Room) -> None:
    room.set("service", 'language = "br"')
    room.set("prompts", 'notice = "prompts/fr/notice.wav"')
    assert {level for level, _ in wrong(room, language="br")} == {"warning"}
    assert wrong(room, language="br")[-1][1].startswith("nobody has listed what it must say in 'br'")


def test_what_another_language_takes_from_the_default_one(room: Room) -> None:
    room.set("prompts", 'languages = { "+33323063007" = "en" }')
    room.set("prompts.en", 'refused = "prompts/en/refused.wav"')
    told = ("warning", "notice.wav is that of fr: callers may not understand it")
    assert wrong(room, "notice", "en") == [told]
    assert findings(room, "closed", "en") == []  # heard, and found to be well, in the other language

    def of_the_table() -> list[tuple[str, str]]:
        return [(one.level, one.detail) for one in lint(room.config()) if one.what == "prompts.en"]

    own = ["notice", "welcome", "confirm", "closed", "unavailable", "please_hold"]
    room.set("prompts.en", f'{own[0]} = "prompts/en/notice.wav"')
    assert wrong(room, "notice", "en") == [] != findings(room, "notice", "en")
    missing = ", ".join(own[1:])
    assert of_the_table() == [("warning", f"no {missing} of its own: callers hear those of fr")]
    room.set("prompts.en", "\n".join(f'{name} = "prompts/en/{name}.wav"' for name in own))
    assert of_the_table() == []


def test_check_has_one_line_for_what_is_well(room: Room) -> None:
    informed = GOOD["fr"].replace("Merci de votre appel.", "Vos droits : agglo point fr.")
    for words, levels in ((informed, ["ok", "ok"]), (informed.replace("9", "8"), ["ok", "error"])):
        room.say(words)
        found = [one for one in prompt_findings(room.config()) if one.what == "prompts.notice (fr)"]
        assert [finding.level for finding in found] == levels
