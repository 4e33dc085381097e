"""Prompts that say and sound as they must, and each way in which they do not."""

import re
from collections.abc import Iterable

import numpy as np
import pytest
import soundfile

from prompts.speak import CONTACT, READ_MORE, Script, with_read_more
from sipagent.call import events as e
from sipagent.check.notice import VOCABULARIES, lint, missing_words
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
NO_REST = f"warning: its words do not say {REST} ({CURE})"
EXAMPLE = f"warning: says an example of {REST}: put yours there ({CURE})"
UNHEARD = 'error: promises a spoken refusal, which nobody hears: refusal.engine is "none"'
UNSAID, UNSAID_W = "error: its words do not say", "warning: its words do not say"


def told(found: Iterable[Finding]) -> list[str]:
    return [f"{one.level}: {one.detail}" for one in found]


def findings(room: Room, name: str = "notice", language: str = "fr") -> list[str]:
    return told(finding for finding in lint(room.config()) if finding.what == f"prompts.{name} ({language})")


def wrong(room: Room, name: str = "notice", language: str = "fr") -> list[str]:
    """But for where the rest can be read, which has a test of its own."""
    found = findings(room, name, language)
    return [one for one in found if not one.startswith("ok") and one not in (NO_REST, EXAMPLE)]


def by_voice(room: Room, keys: str = "") -> None:
    """Somebody listens, and the notice stays the one that `say` changes."""
    room.set("refusal", f'engine = "embedding"\n{keys}')
    room.set("prompts", 'notice = "prompts/fr/notice.wav"')


def single(room: Room) -> None:
    """One notice that says it all, as long as `GOOD` takes."""
    room.write(re.sub(r"^details = .*$", "", room.text, flags=re.MULTILINE))
    for language in ("fr", "en"):
        room.words("details", language).with_suffix(".wav").unlink()
        path = room.words("notice", language).with_suffix(".wav")
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, np.tile(samples, 2), rate, subtype="PCM_16")


@pytest.mark.parametrize("opt_in", [False, True])
@pytest.mark.parametrize("language", ["fr", "en"])
def test_all_that_is_shipped_is_well(room: Room, language: str, opt_in: bool) -> None:
    room.speak(language, opt_in=opt_in)
    room.set("hours", OFFICE_HOURS)
    found = list(lint(room.config()))
    assert told(finding for finding in found if finding.level != "ok") == [EXAMPLE]
    names = "notice details welcome refused confirm closed unavailable hold_music please_hold"
    assert {finding.what.partition(" ")[0] for finding in found} == {
        f"prompts.{one}" for one in names.split()
    }
    details = [finding.detail for finding in found if finding.what.startswith("prompts.notice")]
    key = "says the key that accepts (1)" if opt_in else "says the key that refuses (9)"
    assert key in details and "says the key of the details (3)" in details
    told_later = [finding.detail for finding in found if finding.what.startswith("prompts.details")]
    assert "says how long recordings are kept (6 months)" in told_later


# --- who, what, and how to refuse ---

WHO, THAT = "who records (Agglo J'écoute)", "that the call is recorded"
MAY, NINE = "that one may refuse", "the key that refuses (9)"


@pytest.mark.parametrize(("words", "missing"), [
    ("Agglo J’écoute. Votre appel est enregistré. Pour refuser, touche 9.", []),
    ("Communauté d’agglomération du Saint-Quentinois : enregistrement, vous refusez par le 9", []),
    ("Bonjour, votre appel est enregistré. Pour refuser, touche 9.", [WHO]),
    ("Agglo J’écoute. Votre appel est enregistré.", [MAY, NINE]),
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


KEPT = "says that recordings are kept"
OPT_IN = {"refusal": 'mode = "opt_in"', "prompts": 'notice = "prompts/fr/notice.wav"'}
QUALITY = "la qualité, les statistiques et l'organisation"
WELL = "et bienvenue à Agglo J'écoute. Cet appel est enregistré, merci."
NOT_RECORDED = "error: says that the call is recorded; who hears it is not"
NEITHER = "when hours.week neither opens nor closes"
MORNINGS = {"hours": 'week = { mon = "09:00-12:00", sat = "09:00-12:00" }\nholidays = "FR"'}


@pytest.mark.parametrize(("old", "new", "tables", "expected"), [
    ("Votre appel est enregistré", "Sachez bien ceci", {}, [f"{UNSAID} {THAT}"]),
    ("Pour refuser", "Sachez bien ceci", {}, [f"{UNSAID} {MAY}", f"{UNSAID} {NINE}"]),
    (f"pour {QUALITY}", "Sachez bien ceci", {},
     [f"{UNSAID} what for (statistics, quality, organisation)"]),
    (LONG, "conservé deux mois au plus", {}, [f"error: {KEPT} 2 months, but retention.period is 6 months"]),
    (LONG, "conservé durant un an", {}, [f"warning: {KEPT} 1 year, but retention.period is 6 months"]),
    (f"et {LONG}", "Sachez bien ceci", {},
     [f"{UNSAID} how long recordings are kept, nor where to read more"]),
    (LONG, "tout est sur notre site internet", {}, []),
    ("Merci de votre appel.", "Sinon, l'appel ne sera pas enregistré.", {},
     ["error: says that who does nothing is not recorded; with refusal.mode objection, silence allows"]),
    ("", "", {"retention": 'period = "90 days"'}, []),  # a longer one at most is true
    ("", "", {"retention": 'period = "1 year"\njustification = "a reason"'},
     [f"error: {KEPT} 6 months, but retention.period is 1 year"]),
    ("", "", {"retention": 'purposes = ["quality", "accueil_public"]'},
     [f"{UNSAID_W} the purpose accueil_public",
      "warning: says the purpose statistics, organisation, which is none of retention.purposes"]),
    ("les statistiques et l'organisation", "et l'accueil",
     {"retention": 'purposes = ["quality", "accueil_public"]'}, []),
    (QUALITY, "la qualité, et la preuve, les statistiques",
     {"retention": 'purposes = ["statistics", "qualité du service"]\nhold_grounds = []'},
     ["warning: says the purpose evidence, which is none of retention.purposes"]),
    ("Merci", "Un opérateur accepte vos questions. Merci", OPT_IN,  # neither the key nor its article
     [f"{UNSAID} the key that accepts (1)"]),
    (f"{KEY}, à tout moment.", "tapez 5. Pour accepter, tapez 1.", OPT_IN,
     [f"{UNSAID_W} the key that refuses later (9)"]),
])  # fmt: skip
def test_what_the_notice_lacks_or_says_and_is_not_true(
    room: Room, old: str, new: str, tables: dict[str, str], expected: list[str]
) -> None:
    single(room)
    for table, keys in tables.items():
        room.set(table, keys)
    room.say(GOOD["fr"].replace(old, new))
    assert wrong(room) == expected


@pytest.mark.parametrize(("name", "words", "tables", "expected"), [
    ("welcome", f"Bonjour {WELL}", {}, [NOT_RECORDED]),
    ("welcome", "Votre demande est bien enregistrée, nous vous mettons en relation avec elle.", {}, []),
    ("refused", "Votre demande est bien enregistrée, nous vous mettons en relation avec elle.", {},
     ["warning: its words do not confirm that the call is not recorded"]),
    ("welcome", "Eau Pure, bonjour. Cet appel n'est pas enregistré. Nous vous mettons en relation.", {},
     ["warning: greets callers as Eau Pure; service.name is Agglo J'écoute"]),
    ("confirm", "Nous n'avons pas bien compris. Pour refuser l'enregistrement, appuyez sur la touche 1.", {},
     [f"{UNSAID_W} that otherwise the call is not recorded",
      "warning: its words do not name refusal.accept_digit 1"]),
    ("closed", "", {}, ["warning: says mon-fri, 08:30, 12:00, 13:30, 17:30, and hours.week is absent: open "
                        "day and night"]),
    ("closed", "", {"hours": OFFICE_HOURS.replace('"FR"', "[]")},
     ["warning: says that public holidays are closed, and hours.holidays is absent"]),
    ("closed", "", MORNINGS, [
        "warning: says tue-fri, closed by hours.week",
        f"warning: says 08:30, 13:30, 17:30, {NEITHER}",
        "warning: does not say sat, open by hours.week",
        "warning: does not say 09:00 of hours.week",
    ]),
    ("unavailable", "Personne n'est disponible. Merci de rappeler avant 18 heures, au revoir.",
     {"hours": OFFICE_HOURS},
     [f"warning: says 18:00, {NEITHER}",
      "warning: does not say 08:30, 12:00, 13:30, 17:30 of hours.week"]),
])  # fmt: skip
def test_what_a_prompt_says_as_it_is_set_up(
    room: Room, name: str, words: str, tables: dict[str, str], expected: list[str]
) -> None:
    for table, keys in tables.items():
        room.set(table, keys)
    if words:
        room.say(words, name)
    assert wrong(room, name) == expected


MARK = "its words before [essential 9 s]"


@pytest.mark.parametrize(("after", "expected"), [
    ("à tout moment.", []),
    ("Votre appel est", [f"error: {MARK} do not say {THAT}, {MAY}, {NINE}, what for"]),
    ("pour la qualité", [f"error: {MARK} do not say {MAY}, {NINE}, what for"]),
    (f"{KEY},", [f"error: {MARK} do not say {NINE}"]),
])  # fmt: skip
def test_what_must_be_known_stands_before_the_essential_part_ends(
    room: Room, after: str, expected: list[str]
) -> None:
    before, found, rest = GOOD["fr"].partition(after)
    single(room)
    kept, moved = (before + found, rest) if not expected else (before, found + rest)
    room.say(f"{kept}\n[essential 9 s]\n{moved}")
    assert wrong(room) == expected
    if not expected:
        assert "ok: the key that accepts counts after 9 s" in findings(room)
        room.say(f"{kept}\n[essential 2 s]\n{moved}")
        (found,) = wrong(room)
        assert found.startswith("error: its words before [essential 2 s] take longer")


# --- by voice ---


def test_where_somebody_listens_the_words_to_say_will_do(room: Room) -> None:
    single(room)
    room.say(GOOD["fr"].replace(KEY, "dites je refuse"))
    room.set("refusal", 'engine = "none"')
    assert f"{UNSAID} {NINE}" in wrong(room)
    by_voice(room, 'keywords = ["je refuse"]')
    (found,) = wrong(room)
    assert found.startswith("warning") and "ok: says the words to say" in findings(room)
    by_voice(room, 'keywords = ["stop"]')
    unknown = "promises a spoken refusal, and what it says to say (je refuse, a tout moment) is none of "
    assert wrong(room) == [f"{UNSAID} {NINE}", f"error: {unknown}refusal.keywords"]


@pytest.mark.parametrize(("words", "promises"), [
    ("dites « je refuse », ou touche 9", True),
    ("dites : je refuse, ou tapez 9", True),
    ("tapez 9 ou dites à l'agent « je refuse »", True),
    ("appuyez sur la touche 9 ou dites-le à votre conseiller", False),
    ("c'est-à-dire ne pas être enregistré, touche 9", False),
])  # fmt: skip
def test_a_spoken_way_that_nobody_hears_is_an_error_and_stops_run(
    room: Room, words: str, promises: bool
) -> None:
    single(room)
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
    single(room)
    by_voice(room)
    room.say(GOOD["fr"].replace(KEY, "dites « stop », ou touche 9, pour refuser"))
    unheard = "promises a spoken refusal, and what it says to say (stop) is none of refusal.keywords"
    assert wrong(room)[0] == f"error: {unheard}"
    with pytest.raises(ConfigError, match=r"notice\.wav promises .*\(stop\)"):
        rules_of(room.config())


def test_the_confirmation_must_not_promise_it_either(room: Room) -> None:
    room.say("Pour accepter, touche 1. Pour refuser, dites non. Sinon, rien n'est enregistré.", "confirm")
    room.set("refusal", 'engine = "none"')
    with pytest.raises(ConfigError, match=r"confirm\.wav promises"):
        rules_of(room.config())


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("mode", ["objection", "opt_in"])
@pytest.mark.parametrize("voice", [False, True])
def test_a_shipped_notice_promises_the_key_or_what_to_say_as_well(
    room: Room, language: str, mode: str, voice: bool
) -> None:
    """By what stands in it the flow knows which words count at once; the engine listens in any case."""
    room.speak(language, opt_in=mode == "opt_in")
    name = "notice" + "_opt_in" * (mode == "opt_in") + "_voice" * voice
    room.set("prompts", f'notice = "prompts/{language}/{name}.wav"')
    assert wrong(room, language=language) == []
    found = [one.partition(";")[0] for one in findings(room, language=language)]
    assert ("ok: says what to say" if voice else "ok: promises a key alone") in found
    wish = e.Wish.ACCEPT if mode == "opt_in" else e.Wish.REFUSE
    assert rules_of(room.config()).policy.promised == ({(language, wish)} if voice else frozenset())


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("layered", [True, False])
def test_where_the_rest_can_be_read_is_no_example(room: Room, language: str, layered: bool) -> None:
    """The details name one, in a sentence that the script puts another place into; so may a single notice."""
    room.speak(language, opt_in=False)
    name = "details" if layered else "notice"
    shipped = room.words("details", language).read_text(encoding="utf-8").strip()
    if not layered:
        shipped = GOOD[language]
        single(room)

    def of_the_rest(words: str) -> list[str]:
        room.say(words, name, language)
        return [one for one in findings(room, name, language) if REST in one]

    script = Script(room.words(name, language), language, shipped)
    (informed,) = with_read_more([script], "la mairie")
    last = (CONTACT if layered else READ_MORE)[language].format("la mairie")
    assert informed.words.endswith(f" {last}")
    assert of_the_rest(shipped) == ([EXAMPLE] if layered else [NO_REST])
    for words in (informed.words, f"{informed.words} Par exemple, for example."):
        assert of_the_rest(words) == [f"ok: says {REST}"]
    if not layered:
        assert of_the_rest(informed.words.removesuffix(f" {last}")) == [NO_REST]


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("touche 3", "notre site", [f"{UNSAID} the key of the details (3)"]),
    ("Vos droits et le détail", "Le détail", [f"{UNSAID} that callers have rights"]),
    ("[essential 8.3 s]", "Conservé deux mois au plus.", []),
])  # fmt: skip
def test_the_first_layer_says_that_there_are_rights_and_leads_to_the_second(
    room: Room, old: str, new: str, expected: list[str]
) -> None:
    room.say(room.words("notice").read_text(encoding="utf-8").replace(old, new))
    assert wrong(room) == expected


def test_a_key_for_details_that_are_not_there_is_an_error(room: Room) -> None:
    single(room)
    assert "error: names the key 3 for details, and prompts.details is absent" in wrong(room)


@pytest.mark.parametrize(("language", "old", "new", "expected"), [
    ("fr", "conservés six mois au maximum", "conservés", [
        f"{UNSAID} how long recordings are kept"]),
    ("fr", "six mois au maximum", "deux mois", [
        f"error: {KEPT} 2 months, but retention.period is 6 months"]),
    ("fr", "sur notre mission d’intérêt public, ou sur votre accord si", "là où", [
        f"{UNSAID} on what legal basis"]),
    ("fr", "une copie d’un enregistrement ou son effacement, et vous y opposer", "beaucoup", [
        f"{UNSAID} which rights callers have"]),
    ("fr", "à l’autorité de protection des données, la CNIL", "ailleurs", [
        f"{UNSAID} that callers may complain to an authority"]),
    ("en", "complain to the data protection authority", "complain", [
        f"{UNSAID} that callers may complain to an authority"]),
])  # fmt: skip
def test_the_second_layer_says_the_rest(
    room: Room, language: str, old: str, new: str, expected: list[str]
) -> None:
    room.speak(language, opt_in=False)
    words = room.words("details", language).read_text(encoding="utf-8")
    room.say(
        words.replace(old, new).replace("en savoir plus et exercer vos droits", "écrire"), "details", language
    )
    assert wrong(room, "details", language)[: len(expected)] == expected


def test_of_a_notice_that_nobody_can_read_a_yes_counts_by_the_words_in_the_file(room: Room) -> None:
    room.set("service", 'language = "de"')
    room.set("prompts", 'notice = "prompts/fr/notice_opt_in_voice.wav"')
    room.set("refusal", 'mode = "opt_in"')
    assert rules_of(room.config()).policy.promised == frozenset()
    room.set("refusal", 'accept_keywords = ["ja"]')
    assert rules_of(room.config()).policy.promised == {("de", e.Wish.ACCEPT)}


# --- other prompts ---


@pytest.mark.parametrize("name", ["closed", "unavailable", "please_hold"])
def test_no_other_prompt_promises_a_recording(room: Room, name: str) -> None:
    room.say(f"{room.words(name).read_text('utf-8')} Cet appel est enregistré.", name)
    assert "error: says that the call is recorded; who hears it may not be" in wrong(room, name)


@pytest.mark.parametrize(("language", "other"), [("fr", "en"), ("en", "fr")])
def test_the_first_prompt_says_the_keys_that_choose_a_language(room: Room, language: str, other: str) -> None:
    room.speak(language, opt_in=False)
    table = f'choose = "prompts/{language}/choose.wav"\nchoices = {{ "2" = "{other}" }}'
    room.set("prompts", table)
    room.set(f"prompts.{other}", f'notice = "prompts/{other}/notice.wav"')
    assert wrong(room, "choose", language) == wrong(room, language=other) == []
    assert "ok: says the key 2" in findings(room, "choose", language)
    room.set("prompts", table.replace("2", "4"))
    assert f"{UNSAID_W} the key 4 of prompts.choices" in wrong(room, "choose", language)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_prompt_with_another_name_is_an_error(room: Room, language: str) -> None:
    room.speak(language, opt_in=False)
    room.set("service", f'name = "Allô Mairie"\nlanguage = "{language}"')
    shipped = "error: says Agglo J'écoute, the name that is shipped; service.name is Allô Mairie"
    for name in ("notice", "welcome", "closed"):
        assert shipped in wrong(room, name, language)
    for name in ("refused", "confirm", "unavailable"):  # they say none
        assert wrong(room, name, language) == []
    room.say("Allô Mairie, bonjour. Cet appel n'est pas enregistré.", "welcome", language)
    assert not [one for one in wrong(room, "welcome", language) if one.startswith("error")]


# --- hours ---


def test_hours_on_the_clock_of_another_place(room: Room) -> None:
    room.speak("en", opt_in=False)
    room.set("hours", OFFICE_HOURS)
    assert wrong(room, "closed", "en") == []
    room.set("service", 'timezone = "Indian/Reunion"\nlanguage = "en"')
    of_paris = "warning: says the time of Paris; service.timezone is Indian/Reunion"
    assert wrong(room, "closed", "en") == [of_paris]
    room.set("service", 'timezone = "Indian/Reunion"\nlanguage = "fr"')
    room.write(room.text.replace("prompts/en/closed", "prompts/fr/closed"))
    room.say("Du lundi au vendredi, de 8 heures 30 à 17 heures 30, heure de Paris.", "closed")
    assert of_paris in wrong(room, "closed")


@pytest.mark.parametrize(
    ("hours", "country", "said"),
    [
        (None, "FR", "ok: those of the service: Relais 24"),
        ('{ mon = "08:00-18:00", tue = "08:00-18:00" }', "FR", "ok: those of the service: Relais 24"),
        (
            '{ mon = "09:00-12:00" }',
            "FR",
            "warning: the service answers and the relay does not: mon 08:30-09:00,13:30-17:30, "
            "tue 08:30-12:00; since 1 October 2026 it has the same hours (decree 2017-875)",
        ),
        (
            '{ mon = "08:00-18:00" }',
            "BE",
            "warning: the service answers and the relay does not: tue 08:30-12:00",
        ),
    ],
)
def test_a_relay_for_deaf_callers_answers_when_the_service_does(
    room: Room, hours: str | None, country: str, said: str
) -> None:
    week = '{ mon = "08:30-12:00,13:30-17:30", tue = "08:30-12:00" }'
    for table, keys in (
        ("hours", f"week = {week}"),
        ("service", f'country = "{country}"'),
        ("access", 'relay = "Relais 24"' + (f"\nrelay_hours = {hours}" if hours else "")),
    ):
        room.set(table, keys)
    (found,) = (one for one in lint(room.config()) if one.what == "access.relay_hours")
    assert f"{found.level}: {found.detail}" == said


# --- sound ---


def test_a_sound_that_lost_its_last_quarter_or_more(room: Room) -> None:
    whole = re.sub(r"\[essential .*\]", "", room.words("notice").read_text("utf-8"))
    for words, said in (
        ("Appel enregistré, touche 9.", "shorter"),
        (" ".join([GOOD["fr"]] * 3), "longer"),
    ):
        room.say(words)
        assert wrong(room)[0].startswith(f"error: its words are {said} than what is heard (")
    path, samples, rate = room.sound()
    room.say(whole)
    soundfile.write(path, samples[: int(len(samples) * 0.75)], rate, subtype="PCM_16")
    assert wrong(room)[0].startswith("warning: hard to follow, or not the words that are heard: ")


@pytest.mark.parametrize(("times", "level", "said"), [
    (0.1, "warning", "dBFS where it speaks: -36 to -12 is heard well"),
    (0.002, "error", "so quiet that it is lost on a line"),
    (2.5, "warning", "clipped: 0."),
    (20, "error", "clipped"),
])  # fmt: skip
def test_a_sound_that_is_faint_or_clipped(room: Room, times: float, level: str, said: str) -> None:
    path, samples, rate = room.sound()
    soundfile.write(path, np.clip(samples * times, -1, 1), rate, subtype="PCM_16")
    assert [one.partition(":")[0] for one in wrong(room) if said in one] == [level]


def test_files_that_are_not_what_they_must_be(room: Room) -> None:
    path, _, _ = room.sound()
    path.with_suffix(".txt").unlink()
    path.with_name("closed.txt").unlink()
    assert wrong(room)[0].startswith("error") and "so nobody can check them" in wrong(room)[0]
    assert wrong(room, "closed")[0].startswith("warning")
    path.unlink()
    (found,) = wrong(room)
    assert found.startswith("error") and "does not exist" in found


# --- languages ---


def test_what_another_language_takes_from_the_default_one(room: Room) -> None:
    room.set("prompts", 'languages = { "+33323063007" = "en" }')
    room.set("prompts.en", 'refused = "prompts/en/refused.wav"')
    assert wrong(room, "notice", "en") == ["warning: notice.wav is that of fr: callers may not understand it"]
    assert findings(room, "closed", "en") == []  # heard, and found to be well, in the other language

    def of_the_table() -> list[str]:
        return told(one for one in lint(room.config()) if one.what == "prompts.en")

    own = ["notice", "details", "welcome", "confirm", "closed", "unavailable", "please_hold"]
    room.set("prompts.en", f'{own[0]} = "prompts/en/notice.wav"')
    assert wrong(room, "notice", "en") == [] != findings(room, "notice", "en")
    missing = ", ".join(own[1:])
    assert of_the_table() == [f"warning: no {missing} of its own: callers hear those of fr"]
    room.set("prompts.en", "\n".join(f'{name} = "prompts/en/{name}.wav"' for name in own))
    assert of_the_table() == []
