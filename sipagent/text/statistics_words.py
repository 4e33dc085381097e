"""How statistics are written: style, words in French and English, and the form of numbers in each.

Light or dark like the reader's screen, light on paper. A page that has figures says `--paper`, `--card`,
`--ink`, `--soft`, `--line` and `--alarm`. Nothing here is slow to import.
"""

from dataclasses import dataclass
from datetime import date, datetime, time

from sipagent.languages.typography import NARROW, WIDE, set_french

PAGE_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --card: #f6f7f9; --ink: #1c2128; --soft: #5b6470;
  --line: #d9dde3; --alarm: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --card: #1d2128; --ink: #e6e9ee;
  --soft: #a2abb8; --line: #363c46; --alarm: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; text-wrap: balance; }
p { margin: .25rem 0 0; color: var(--soft); font-size: .9rem; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); }
.alarm { padding: .5rem 1rem; border: 2px solid var(--alarm); border-radius: .5rem; }
.alarm p { margin: 0; color: var(--alarm); font-weight: 600; }
@media print { :root { color-scheme: light; --paper: #fff; --card: #f2f3f5; --ink: #000; --soft: #444;
  --line: #bbb; --alarm: #b3261e; }
  body { max-width: none; padding: 0; font-size: 10pt; } }
"""
FIGURES_STYLE = """
.figures { --c0: #2f6db5; --c1: #e0902a; --c2: #8b6fc0; --c3: #a9b0ba; --c4: #3b9a7d; --c5: #c9534f; }
@media (prefers-color-scheme: dark) { .figures { --c0: #6ea3e0; --c1: #eeaa55; --c2: #a993d9;
  --c3: #6c7480; --c4: #5cb99b; --c5: #e27d79; } }
.figures h2 { margin: 0; font-size: 1.15rem; }
.figures p { margin: .25rem 0 0; color: var(--soft); font-size: .9rem; }
.figures section { margin-top: 2.5rem; }
.figures dl { max-width: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(16rem, 100%), 1fr)); gap: .75rem;
  margin: 1.5rem 0 0; }
.tiles div { padding: .75rem 1rem; border-radius: .5rem; background: var(--card); }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.3; }
.tiles small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; }
.figures figure { margin: .75rem 0 0; overflow-x: auto; }
.figures svg { display: block; width: 100%; min-width: 34rem; height: auto; }
.figures svg text { fill: var(--soft); font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.figures svg .axis.x text { text-anchor: middle; }
.figures svg .axis.y text { text-anchor: end; }
.figures svg path { fill: none; stroke: var(--line); }
.figures svg .vertical .axis.x path, .figures svg .horizontal .axis.y path { display: none; }
.figures svg rect:hover { opacity: .8; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; max-width: none; margin: .75rem 0 0; padding: 0;
  list-style: none; font-size: .85rem; }
.key i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; }
.color-0 { fill: var(--c0); background: var(--c0); } .color-1 { fill: var(--c1); background: var(--c1); }
.color-2 { fill: var(--c2); background: var(--c2); } .color-3 { fill: var(--c3); background: var(--c3); }
.color-4 { fill: var(--c4); background: var(--c4); } .color-5 { fill: var(--c5); background: var(--c5); }
.figures .table { margin-top: 1rem; overflow: auto; }
.figures .long { max-height: 22rem; border-bottom: 1px solid var(--line); }
.figures table { width: 100%; border-collapse: collapse; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
.figures th, .figures td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
.figures th:first-child { padding-left: 0; text-align: left; font-weight: 400; }
.figures thead th, .figures thead th:first-child { position: sticky; top: 0; background: var(--paper);
  color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
@media print { .figures { --c0: #2f6db5; --c1: #e0902a; --c2: #8b6fc0; --c3: #a9b0ba; --c4: #3b9a7d;
  --c5: #c9534f; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .figures figure, .tiles, .figures tr, .figures h2 { break-inside: avoid; }
  .figures h2 { break-after: avoid; } .figures svg { min-width: 0; }
  .figures .table, .figures .long { max-height: none; overflow: visible; }
  .figures thead th { position: static; } }
"""


LANGUAGES = ("fr", "en")  # any other is answered in English

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Statistiques des appels", "Call statistics"),
    "made": ("Établi le", "Made on"),
    "period_all": ("Tous les appels conservés", "All calls kept"),
    "since": ("depuis le", "since"),
    "until": ("avant le", "before"),
    "zone": ("Jours et mois : fuseau", "Days and months: time zone"),
    "private": (
        "Cette page ne contient aucune donnée personnelle.",
        "This page holds no personal data.",
    ),
    "matches": ("Ces chiffres concordent avec la chaîne", "These figures agree with the chain"),
    "differs": ("CES CHIFFRES NE CONCORDENT PAS AVEC LA CHAÎNE", "THESE FIGURES DO NOT AGREE WITH THE CHAIN"),
    "in_chain": ("dans la chaîne", "in the chain"),
    "receipts": ("reçus d’appel", "call receipts"),
    "recordings": ("enregistrements", "recordings"),
    "notes": ("fiches d’analyse", "analysis notes"),
    "sums": ("comptages d’appels rejetés", "sums of rejected calls"),
    "approvals": ("demandes d’accord", "requests for approval"),
    "in_sums": ("dont rejetés, comptés ensemble :", "of them rejected, counted together:"),
    "lost": ("REÇUS D’APPEL PERDUS :", "CALL RECEIPTS LOST:"),
    "accesses": ("lignes de la trace des usages", "lines in the trace of uses"),
    "nothing": ("Rien à montrer pour cette période.", "Nothing to show for this period."),
    # headings
    "calls": ("Appels", "Calls"),
    "calls_by_day": ("Appels par jour", "Calls per day"),
    "calls_by_week": ("Appels par semaine", "Calls per week"),
    "calls_by_month": ("Appels par mois", "Calls per month"),
    "calls_by_year": ("Appels par an", "Calls per year"),
    "calls_by_hour": ("Appels par heure de la journée", "Calls by the hour of the day"),
    "refusals": ("Refus par moyen et par moment", "Refusals by channel and phase"),
    "waits": ("Attente avant l’opérateur", "Waiting for an operator"),
    "outcomes": ("Issue des appels", "Outcomes"),
    "months": ("Enregistrements, par mois de l’appel", "Recordings, by month of the call"),
    # titles of plots
    "calls_note": (
        "Selon que l’appel pouvait être enregistré.",
        "By whether the call could be recorded.",
    ),
    "hours_note": (
        "Tous les jours de la période ensemble, par l’heure à laquelle l’appel a commencé.",
        "All days of the period together, by the hour in which the call began.",
    ),
    "week_note": ("Les semaines commencent le lundi.", "Weeks begin on Monday."),
    "refusals_note": (
        "Des personnes à qui la question a été posée, jusqu’au bout ou jusqu’à leur refus.",
        "Of the callers who were asked, to the end of the question or to their refusal.",
    ),
    "waits_note": (
        "Du décroché, annonce comprise, à la mise en relation.",
        "From the answer, notice included, to the bridge.",
    ),
    "outcomes_note": (
        "Taux de réponse : aboutis sur tous, sans les rejets, les appels hors horaires et ceux en cours.",
        "Answer rate: put through of all, without those turned away, outside hours or still on.",
    ),
    "months_note": (
        "Ce que sont devenus, à ce jour, les enregistrements des appels de chaque mois.",
        "What has become, to this day, of the recordings of each month’s calls.",
    ),
    # columns and figures
    "day": ("Jour", "Day"),
    "hour": ("Heure", "Hour"),
    "hour_of": ("{hour} h", "{hour}:00"),
    "week": ("Semaine du", "Week of"),
    "month": ("Mois", "Month"),
    "year": ("Année", "Year"),
    "total": ("Total", "Total"),
    "channel": ("Moyen", "Channel"),
    "decision": ("Décision", "Decision"),
    "outcome": ("Issue", "Outcome"),
    "language": ("Langue", "Language"),
    "wait": ("Attente", "Wait"),
    "share": ("Part", "Share"),
    "median": ("Médiane", "Median"),
    "p90": ("9 sur 10 au plus", "9 in 10 at most"),
    "longest": ("Maximum", "Longest"),
    "answer_rate": ("Taux de réponse", "Answer rate"),
    "refused_share": ("Refus", "Refusals"),
    "of": ("sur", "of"),
    "median_wait": ("Attente médiane", "Median wait"),
    "kept_now": ("Enregistrements gardés", "Recordings kept"),
    "stops": ("Arrêts par un opérateur", "Stopped by an operator"),
    "unheard": ("Non enregistrés, parole non jugée", "Unrecorded, speech not judged"),
    "dtmf_methods": ("Touches reçues par", "Keys received by"),
    "waited": ("Attente des appels aboutis", "Wait of the calls put through"),
    "given_up": ("Attente avant abandon", "Wait before giving up"),
    "talked": ("Durée des conversations", "Length of conversations"),
    # values of receipts and recordings
    "connected": ("abouti", "connected"),
    "transferred": ("transféré", "transferred"),
    "abandoned": ("abandonné", "abandoned"),
    "closed": ("hors horaires", "outside hours"),
    "unavailable": ("aucun opérateur", "no operator"),
    "rejected": ("rejeté", "turned away"),
    "failed": ("échec", "failed"),
    "in_progress": ("en cours", "in progress"),
    "allowed": ("autorisé", "allowed"),
    "refused": ("refusé", "refused"),
    "not_allowed": ("non autorisé", "not allowed"),
    "undecided": ("sans décision", "undecided"),
    "silence": ("silence", "silence"),
    "dtmf": ("touche", "key"),
    "voice": ("voix", "voice"),
    "unclear": ("réponse incertaine", "unclear answer"),
    "sip": ("SIP", "SIP"),
    "sampling": ("hors échantillon", "not sampled"),
    "notice_failed": ("annonce interrompue", "notice not heard"),
    "operator": ("opérateur", "operator"),
    "disabled": ("enregistrement coupé", "recording off"),
    "recorder_fault": ("panne d’enregistrement", "recorder fault"),
    "choice": ("pendant le choix de la langue", "while choosing a language"),
    "notice": ("pendant l’annonce", "during the notice"),
    "window": ("après l’annonce", "after the notice"),
    "call": ("pendant l’appel", "during the call"),
    "kept": ("gardés jusqu’à leur terme", "kept until due"),
    "held": ("conservés comme preuve", "held as evidence"),
    "purged": ("purgés", "purged"),
    "erased": ("effacés", "erased"),
    "open": ("en cours", "open"),
    "rfc4733": ("RFC 4733", "RFC 4733"),
    "info": ("SIP INFO", "SIP INFO"),
    "inband": ("tonalités", "tones"),
    "fr": ("français", "French"),
    "en": ("anglais", "English"),
    "de": ("allemand", "German"),
    "es": ("espagnol", "Spanish"),
    "by_key": ("choisie par touche", "chosen by key"),
}

_MONTHS = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)


@dataclass(frozen=True, slots=True)
class StatisticsWords:
    """`language` is a tag such as `fr`."""

    language: str

    @property
    def french(self) -> bool:
        """Whether it is French: most of the differences below are for French."""
        return self.language == "fr"

    def __call__(self, key: str) -> str:
        """The words for a key, or the key itself if it has none: a value of a newer version."""
        french, english = _WORDS.get(key, (key, key))
        return set_french(french) if self.french else english

    @property
    def colon(self) -> str:
        """Between a name and its figure, with the space that follows."""
        return f"{WIDE}: " if self.french else ": "

    @property
    def semicolon(self) -> str:
        """Between parts of a list, with the space that follows."""
        return f"{NARROW}; " if self.french else "; "

    def number(self, count: int) -> str:
        """`12 345` or `12,345`."""
        return f"{count:,}".replace(",", NARROW if self.french else ",")

    def share(self, share: float | None) -> str:
        """`12,5 %` or `12.5%`; a dash if unknown."""
        if share is None:
            return "–"
        return f"{share * 100:.1f}{NARROW}%".replace(".", ",") if self.french else f"{share * 100:.1f}%"

    def length(self, seconds: float | None, *, whole: bool = False) -> str:
        """`8,5 s`, `1 min 05 s`, `1 h 04 min`; a dash if unknown.

        `whole`, for the edges of a plot: `8 s`, `1 min`, `90 s`.
        """
        if seconds is None:
            return "–"
        if seconds < 60 or (whole and seconds % 60):
            text = f"{seconds:.{0 if whole else 1}f}{WIDE}s"
            return text.replace(".", ",") if self.french else text
        minutes, rest = divmod(round(seconds), 60)
        if whole and not rest:
            return f"{minutes}{WIDE}min"
        if minutes < 60:
            return f"{minutes}{WIDE}min{WIDE}{rest:02}{WIDE}s"
        return f"{minutes // 60}{WIDE}h{WIDE}{minutes % 60:02}{WIDE}min"

    def size(self, count: int) -> str:
        """`4,2 Mo` or `4.2 MB`."""
        amount, unit = float(count), ""
        for unit in ("", "k", "M", "G", "T"):
            if amount < 999.95 or unit == "T":
                break
            amount /= 1000
        figure = f"{amount:.1f}" if unit else str(count)
        return f"{figure.replace('.', ',')}{WIDE}{unit}o" if self.french else f"{figure}{WIDE}{unit}B"

    def day(self, day: date) -> str:
        """`24/11/2026` or `2026-11-24`."""
        return f"{day:%d/%m/%Y}" if self.french else day.isoformat()

    def moment(self, at: datetime) -> str:
        """The day, and the minute unless it is the day's first: `24/11/2026 à 9 h 05`, `2026-11-24 09:05`."""
        if at.time() == time():
            return self.day(at.date())
        minute = f"à {at.hour}{WIDE}h{WIDE}{at:%M}" if self.french else f"{at:%H:%M}"
        return f"{self.day(at.date())} {minute}"

    def second(self, at: datetime) -> str:
        """As a paper has it: `24 novembre 2026 à 9 h 05 min 07 s`, `2026-11-24 09:05:07`."""
        if not self.french:
            return f"{at:%Y-%m-%d %H:%M:%S}"
        day = f"{at.day if at.day > 1 else '1er'}{WIDE}{_MONTHS[at.month - 1]}{WIDE}{at.year}"
        return f"{day} à {at.hour}{WIDE}h{WIDE}{at:%M}{WIDE}min{WIDE}{at:%S}{WIDE}s"

    def span(self, first: date, grain: str) -> str:
        """A `day`, a `week` by its Monday, a `month` (`11/2026` or `2026-11`), a `year`."""
        if grain == "year":
            return f"{first:%Y}"
        if grain == "month":
            return f"{first:%m/%Y}" if self.french else f"{first:%Y-%m}"
        return self.day(first)

    def tick(self, first: date, grain: str) -> str:
        """A span as the label of a bar: a day without its year."""
        if grain in ("month", "year"):
            return self.span(first, grain)
        return f"{first:%d/%m}" if self.french else f"{first:%m-%d}"
