"""How statistics and papers are written: words in French and English, and the form of numbers and dates in
each; the certificate of a deletion, a page of text to give to a person; and the sheet for operators.

The words stand in `statistics.fr.txt` and `statistics.en.txt`. Nothing here is slow to import.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from retention.records import Status
from sipagent.config.identity import printable
from sipagent.languages.typography import NARROW, WIDE, set_french
from sipagent.text import FOLDER, Fact, language_of_papers, template

if TYPE_CHECKING:
    from retention.erase import Deletion
    from sipagent.config.load import Config
    from sipagent.config.tables import ServiceTable
    from sipagent.text.register import Statement

_MONTHS = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)


def style(name: str) -> str:
    """The style of a `page`, or of `figures` on one: light or dark like the reader's screen, light on paper.

    A page that has figures says `--paper`, `--card`, `--ink`, `--soft`, `--line` and `--alarm`.
    """
    return (FOLDER / f"{name}.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class StatisticsWords:
    """`language` is a tag such as `fr`; any but that is answered in English."""

    language: str

    @property
    def french(self) -> bool:
        """Whether it is French: most of the differences below are for French."""
        return self.language == "fr"

    def __call__(self, key: str) -> str:
        """The words for a key, or the key itself if it has none: a value of a newer version."""
        said = template(f"statistics.{'fr' if self.french else 'en'}.txt").words.get(key, key)
        return set_french(said) if self.french else said

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

    def decimal(self, value: float | None) -> str:
        """`4,1` or `4.1`; a dash if unknown."""
        said = "–" if value is None else f"{value:.1f}"
        return said.replace(".", ",") if self.french else said

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
        return f"{day:%d/%m/%Y}" if self.french else f"{day:%Y-%m-%d}"

    def written_day(self, text: str) -> str:
        """That form of a day that is kept as `2026-11-24`; somebody's own words stay as they are."""
        try:
            return self.day(date.fromisoformat(text))
        except ValueError:
            return text

    def moment(self, at: datetime) -> str:
        """The day, and the minute unless it is the day's first: `24/11/2026 09:05`, `2026-11-24 09:05`."""
        day = self.day(at.date())
        return day if at.time() == time() else f"{day} {at:%H:%M}"

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


# --- the certificate of a deletion ---

_PATH = 400  # characters


def certificate(done: "Deletion", service: "ServiceTable") -> str:
    """The text: lines of 78 characters, except values, which are not broken; times in the service's zone."""
    words = StatisticsWords(language_of_papers(service.language))
    said = template(f"certificate.{words.language}.txt").said(_facts(done, service, words))
    texts = ((set_french(text) if words.french else text, values or {}) for text, values in said)
    return "".join(f"{text.format(values.get(''), **values)}\n" for text, values in texts)


def _facts(
    done: "Deletion", service: "ServiceTable", words: StatisticsWords
) -> Iterator[Fact[dict[str, Any]]]:
    zone = service.timezone.key

    def second(at: datetime) -> str:
        return words.second(at.astimezone(service.timezone))

    row = done.recording
    values = {
        "controller": service.controller,
        "contact": service.controller_contact,
        "dpo": service.dpo_contact,
        "service": service.name,
        "call": done.id,
        "began": f"{second(done.started_at)} ({zone})",
        "length": words.length(row.duration_s, whole=True) if row and row.duration_s else None,
        "at": f"{second(done.deleted_at)} ({zone})",
        "by": done.by,
        "reason": done.reason,
        "notes": done.notes,
    }
    for name, value in values.items():
        if value:
            yield name, "one" if value == 1 else "", {"": value}
    if done.receipt:
        yield "receipt", "", {}
    if row is None or row.status in (Status.ERASED, Status.FAILED):
        yield "sound", "none", {}
    else:
        before = row.purged_at
        yield "sound", "before" if before else "", {"at": before and second(before), "zone": zone}
        if row.sha256 is not None:
            yield "file", "", {"size": words.size(row.bytes or 0), "sha256": row.sha256}
    # what stays, by the rows: `Receipt.anonymous`, `Recording.tombstone`, notes and uses without names
    if row is not None and row.sha256 is not None:
        yield "sound_stays", "", {}
    if done.notes:
        yield "notes_stay", "", {}
    downloaded = any(copy.elsewhere for copy in done.copies)
    yield "copies", "download" if downloaded else "" if done.copies else "none", {}
    for copy in done.copies:
        how = "_".join(filter(None, ("download" if copy.elsewhere else "", "by" if copy.by else "")))
        path, at = printable(copy.path, _PATH), f"{second(copy.at)} ({zone})"
        yield "copy", how, {"path": path, "at": at, "by": copy.by}
    yield "chain", "", {"seq": done.chain.seq, "hash": done.chain.hash}


# --- the sheet for operators ---

_COLLEAGUES = 12  # are named: more would not fit


def sheet(config: "Config", language: str) -> str:
    """What operators' phones show, and what they may type: a complete page of HTML, one of A4, with no script
    and nothing loaded. `language` is one of LANGUAGES.

    The words stand in `sheet.fr.txt` and `sheet.en.txt`; keys, names and numbers are the configuration's.
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup, escape

    from sipagent.text.register_file import paper_lines

    text = "\n".join(line.text for line in paper_lines("sheet", _statements(config), language))
    reader = (
        MarkdownIt("commonmark")
        .enable("table")
        .disable(["link", "image", "autolink", "html_inline", "html_block"])
    )
    return Markup((FOLDER / "sheet.html").read_text(encoding="utf-8")).format(
        language=language,
        title=escape(config.service.name),
        style=Markup(style("sheet")),
        text=Markup(reader.render(text)),
    )


def _statements(config: "Config") -> Iterator["Statement"]:
    """What holds for this service, in any order: the paper has its own."""
    from sipagent.config.load import uri_user
    from sipagent.config.rules import is_example
    from sipagent.text.register import Statement, records

    operators, refusal, begins = config.operators, config.refusal, config.shares().begins
    yield Statement("title", config.service.name)
    if config.trunk.numbers:
        yield Statement("numbers", list(config.trunk.numbers))
    recorded = records(config)
    if recorded and False in begins:
        yield Statement("recorded", True)
    if recorded and True in begins:
        code = {"code": operators.record_code}
        yield Statement("may_be", code)
        yield Statement("record", code, how="" if operators.stop_erases else "again")
    if recorded:
        yield Statement("types", True)
        how = "erases" if operators.stop_erases else "keeps"
        yield Statement("stop", {"code": operators.stop_code, "stop": operators.stop_code}, how=how)
        yield Statement("pause", {"code": operators.pause_code})
        yield Statement("flag", {"code": operators.flag_code})
        yield Statement("types_answered", True)
    refuses = {"digit": ", ".join(refusal.refusing), "stop": operators.stop_code}
    aloud = refusal.engine != "none" and refusal.in_call == "key+voice"
    yield Statement(
        "refuses", refuses | {"words": list(refusal.in_call_keywords)}, how="aloud" if aloud else ""
    )
    yield Statement("asks", refuses)
    targets = [uri_user(uri) or uri for uri in operators.transfer_targets or operators.extensions]
    if len(targets) > 1:
        yield Statement(
            "colleagues", targets[:_COLLEAGUES], how="" if len(targets) <= _COLLEAGUES else "more"
        )
    contact = config.service.dpo_contact
    yield Statement("copy", contact, how="" if contact and not is_example(contact) else "nobody")
    yield Statement("period", {"period": config.retention.period})
