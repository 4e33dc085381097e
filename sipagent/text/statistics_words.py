"""How statistics and papers are written: words in French and English, and the form of numbers and
dates in each.

The words stand in `statistics.fr.txt` and `statistics.en.txt`. Nothing here is slow to import.
"""

from dataclasses import dataclass
from datetime import date, datetime, time

from sipagent.languages.typography import NARROW, WIDE, set_french
from sipagent.text import FOLDER, template

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
