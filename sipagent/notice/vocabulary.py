"""The words used to read a prompt, per language: without accents, in small letters.

Where a name says "beginnings", a word counts if it begins so. To add a language, add its Vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What `words` knows of a language."""

    conjunction: str  # how `&` is read
    records: tuple[str, ...]  # beginnings: recording, as a deed
    records_if_a_verb: frozenset[str]  # "we record", "we record this call", but "for our records"
    before_verbs: frozenset[str]  # what tells a verb, right before it
    other_records: frozenset[str]  # beside these words, something other than the call is recorded
    calls: frozenset[str]
    negations: frozenset[str]  # of a verb
    without: frozenset[str]  # negations of a noun
    verb_endings: tuple[str, ...]  # of forms that the negation follows: "n'enregistrons pas"
    refuse: tuple[str, ...]  # beginnings
    accept: tuple[str, ...]  # beginnings, of one word each
    able: tuple[str, ...]  # beginnings: "you cannot refuse" offers nothing
    if_: frozenset[str]  # "if you cannot accept" does
    aims: frozenset[str]  # "so as not to be recorded"
    stops: tuple[str, ...]  # beginnings: "to stop the recording"
    unless: tuple[str, ...]  # beginnings: "recorded, unless you press 9"
    wishes: tuple[str, ...]  # beginnings: "if you do not wish to be recorded"
    otherwise: tuple[str, ...]  # beginnings: "otherwise you are not recorded"
    aloud: frozenset[str]  # "say I refuse": what follows must be said
    by_voice: tuple[str, ...]  # "refuse by voice": in any words
    persons: tuple[str, ...]  # beginnings: "tell the operator" is said to somebody
    presses: tuple[str, ...]  # beginnings: what people do with a key
    key_names: frozenset[str]  # right before the key
    counted: frozenset[str]  # right after a number: then it is not a key
    articles: frozenset[str]  # names of a key that are also everyday words
    keys: Mapping[str, tuple[str, ...]]
    keeps: tuple[str, ...]  # beginnings
    at_most: tuple[str, ...]  # beginnings
    read_more: tuple[str, ...]  # beginnings
    units: Mapping[str, str]
    halves: frozenset[str]  # of a year
    numbers: Mapping[str, int]
    purposes: Mapping[str, tuple[str, ...]]  # beginnings, by what retention.purposes calls it


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _counted(text: str) -> dict[str, int]:
    return {word: value for value, word in enumerate(text.split(), 1)}


_FRENCH_TENS = {
    **{
        "et": 0,
        "une": 1,
        "vingt": 20,
        "vingts": 20,
        "trente": 30,
        "quarante": 40,
        "cinquante": 50,
        "soixante": 60,
    },
    **{"cent": 100, "cents": 100},
}
_ENGLISH_TENS = {
    **{
        "and": 0,
        "a": 1,
        "an": 1,
        "twenty": 20,
        "thirty": 30,
        "forty": 40,
        "fifty": 50,
        "sixty": 60,
        "seventy": 70,
    },
    **{"eighty": 80, "ninety": 90, "hundred": 100},
}

FRENCH = Vocabulary(
    conjunction="et",
    records=("enregistr",),
    records_if_a_verb=frozenset(),
    before_verbs=frozenset(),
    other_records=_words(
        "demande demandes dossier dossiers inscription inscriptions commande adresse compte "
        "reclamation refus choix decision reponse message messages annonce musique coordonnees "
        "preference preferences"
    ),
    calls=_words(
        "appel appels conversation conversations communication communications echange echanges "
        "entretien entretiens voix telephonique telephoniques ligne"
    ),
    negations=_words("pas jamais aucunement nullement"),
    without=_words("aucun aucune sans non ni"),
    verb_endings=("ons", "ez", "e", "ent", "erons", "era", "eront"),
    refuse=("refus", "oppos", "desaccord"),
    accept=("accept", "accord", "consent"),
    able=("pouv", "peut", "possib", "permet", "sauri"),
    if_=_words("si sauf"),
    aims=_words("pour afin"),
    stops=("arret", "interromp", "evit", "empech", "desactiv", "suspend"),
    unless=("sauf", "a moins", "excepte"),
    wishes=("souhait", "voul", "veu", "desir", "prefer"),
    otherwise=("sinon", "a defaut", "sans reponse", "sans cela", "autrement", "dans le cas contraire"),
    aloud=_words("dites dire disant prononcez prononcer prononcant enoncez"),
    by_voice=("oralement", "a voix haute", "de vive voix", "par la voix"),
    persons=("operat", "conseill", "interlocut", "correspond", "agent", "personne", "collabor", "lui"),
    presses=("appuy", "press", "tape", "tapa", "compos", "fait", "fais", "enfonc", "touche"),
    key_names=_words("touche chiffre numero bouton le"),
    counted=_words(
        "heure heures h mois an ans annee annees jour jours semaine semaines minute minutes seconde "
        "secondes fois euro euros appel appels janvier fevrier mars avril mai juin juillet aout "
        "septembre octobre novembre decembre"
    ),
    articles=_words("un"),
    keys={
        **{"0": ("zero",), "1": ("un",), "2": ("deux",), "3": ("trois",), "4": ("quatre",), "5": ("cinq",)},
        **{"6": ("six",), "7": ("sept",), "8": ("huit",), "9": ("neuf",)},
        **{"*": ("etoile", "asterisque"), "#": ("diese",)},
    },
    keeps=("conserv", "gard", "stock", "archiv", "effac", "supprim", "detrui"),
    at_most=("maxim", "au plus", "plus tard", "jusqu", "dans les", "moins de"),
    read_more=(
        *("site", "www", "http", "en savoir plus", "savoir plus", "plus d'information", "plus d'info"),
        *("politique de", "mentions legales", "protection des donnees", "delegue", "dpo"),
        *("detail", "point fr", "point com", "point org", "point eu"),
        *("vos droits", "affich", "depliant", "sur demande"),
    ),
    units={
        **{"jour": "day", "jours": "day", "semaine": "week", "semaines": "week", "mois": "month"},
        **{"an": "year", "ans": "year", "annee": "year", "annees": "year"},
    },
    halves=_words("demi"),
    numbers=_counted(
        "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"
    )
    | _FRENCH_TENS,
    purposes={
        "quality": ("qualite",),
        "statistics": ("statisti",),
        "organisation": ("organis",),
        "training": ("formation", "former"),
        "evidence": ("preuve", "prouver"),
        "security": ("securite",),
    },
)

ENGLISH = Vocabulary(
    conjunction="and",
    records=("recorded", "recording", "taped", "taping"),
    records_if_a_verb=_words("record records"),
    before_verbs=_words("we will may can to"),
    other_records=_words(
        "request requests message messages announcement information music choice refusal answer "
        "preference preferences details order complaint decision number high low time volume"
    ),
    calls=_words("call calls conversation conversations line voice you interaction interactions"),
    negations=_words("not never cannot isn won don doesn aren wasn t"),
    without=_words("no without neither nor none"),
    verb_endings=(),  # the negation goes before
    refuse=("refus", "object", "declin", "disagree", "opt out", "opting out"),
    accept=("accept", "agree", "consent"),
    able=("can", "could", "may", "able", "possib", "allow"),
    if_=_words("if unless should"),
    aims=_words("to for"),
    stops=("stop", "avoid", "prevent", "turn off", "switch off", "disabl"),
    unless=("unless", "except"),
    wishes=("wish", "want", "prefer", "like", "rather"),
    otherwise=("otherwise", "if not", "if you do nothing", "unless", "or else"),
    aloud=_words("say saying"),
    by_voice=("speak", "tell us", "by voice", "aloud"),
    persons=("operator", "advis", "agent", "colleague", "person", "staff", "them", "him", "her"),
    presses=("press", "dial", "hit", "push", "touch", "type", "typing", "enter"),
    key_names=_words("key digit number numero button press pressing dial"),
    counted=_words(
        "hour hours o am pm noon month months year years day days week weeks minute minutes second "
        "seconds times of keys buttons call calls percent january february march "
        "april may june july august september october november december"
    ),
    articles=_words("one"),
    keys={
        **{
            "0": ("zero", "oh"),
            "1": ("one",),
            "2": ("two",),
            "3": ("three",),
            "4": ("four",),
            "5": ("five",),
        },
        **{"6": ("six",), "7": ("seven",), "8": ("eight",), "9": ("nine",)},
        **{"*": ("star", "asterisk"), "#": ("hash", "pound", "square")},
    },
    keeps=("kept", "keep", "stor", "retain", "retention", "held", "delet", "eras", "destroy"),
    at_most=("most", "maxim", "up to", "no longer", "no more", "within", "less than"),
    read_more=(
        *("site", "website", "www", "http", "more information", "learn more", "find out more", "read more"),
        *("privacy", "data protection", "dpo", "detail", "dot com", "dot org", "dot fr", "dot eu"),
        *("your rights", "leaflet", "on request"),
    ),
    units={
        **{"day": "day", "days": "day", "week": "week", "weeks": "week", "month": "month"},
        **{"months": "month", "year": "year", "years": "year"},
    },
    halves=_words("half"),
    numbers=_counted(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen"
    )
    | _ENGLISH_TENS,
    purposes={
        "quality": ("quality",),
        "statistics": ("statistic",),
        "organisation": ("organis", "organiz"),
        "training": ("train",),
        "evidence": ("evidence", "proof", "prove"),
        "security": ("security",),
    },
)

VOCABULARIES: Mapping[str, Vocabulary] = {"fr": FRENCH, "en": ENGLISH}
