"""The statistics as a complete page: no script, nothing loaded from elsewhere, no personal data.

French or English by the service's language; light or dark like the reader's screen, light on paper.
Everything that could come from a call is escaped, and the page itself forbids the browser to load anything.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from html import escape

from retention.rules.statistics import Statistics
from sipagent.stats.plots import Plot, svg
from sipagent.stats.sections import FigureTable, Section, sections
from sipagent.stats.style import FIGURES, PAGE
from sipagent.stats.words import StatisticsWords

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LONG = 14  # from this many rows on, a table scrolls on a screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the page is about. Times are local; `tally` maps each table to (rows, entries in the chain)."""

    service: str
    language: str
    zone: str
    made: datetime
    since: datetime | None = None
    until: datetime | None = None
    tally: dict[str, tuple[int, int]] | None = None


def page(figures: Statistics, heading: Heading) -> str:
    """The whole document."""
    words = StatisticsWords(heading.language)
    title = escape(f"{words('title')} – {heading.service}")
    language = "fr" if words.french else "en"
    parts = [
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{PAGE}{FIGURES}</style>\n</head>\n<body>\n<header>",
        f"<h1>{title}</h1>\n<p>{escape(_period(heading, words))}</p>",
        f"{_alarm(figures, heading, words)}</header>\n<main>\n{_figures(figures, heading, words)}\n</main>",
        f"<footer><p>{escape(_foot(heading, words))}</p></footer>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def part(figures: Statistics, heading: Heading) -> str:
    """What `page` has below its title, for another page; its style is `style.FIGURES`."""
    words = StatisticsWords(heading.language)
    parts = (
        f"<p>{escape(_period(heading, words))}</p>",
        _alarm(figures, heading, words),
        _figures(figures, heading, words),
        f"<p>{escape(_agreement(heading, words))}</p>",
    )
    return "\n".join(filter(None, parts))


def _figures(figures: Statistics, heading: Heading, words: StatisticsWords) -> str:
    drawn = (_section(section, words) for section in sections(figures, words, _last_day(heading)))
    return "\n".join(('<div class="figures">', _tiles(figures, words), *drawn, "</div>"))


def agrees(tally: dict[str, tuple[int, int]]) -> bool:
    """Whether there are as many rows as in the chain."""
    return all(rows == chain for rows, chain in tally.values())


def _last_day(heading: Heading) -> date:
    if heading.until is None:
        return heading.made.date()
    return (min(heading.until, heading.made) - timedelta(microseconds=1)).date()


def _period(heading: Heading, words: StatisticsWords) -> str:
    ends = [
        f"{words(name)} {words.moment(at)}"
        for name, at in (("since", heading.since), ("until", heading.until))
        if at is not None
    ]
    period = f"{words('calls')} {', '.join(ends)}" if ends else words("period_all")
    return f"{period}. {words('zone')} {heading.zone}."


def _alarm(figures: Statistics, heading: Heading, words: StatisticsWords) -> str:
    said = []
    if heading.tally is not None and not agrees(heading.tally):
        said.append(f"{words('differs')} ({_tally(heading.tally, words)}).")
    if figures.lost:
        said.append(f"{words('lost')} {words.number(sum(one.count for one in figures.lost))}.")
    return f'<div class="alarm" role="alert"><p>{escape(" ".join(said))}</p></div>' if said else ""


def _foot(heading: Heading, words: StatisticsWords) -> str:
    return f"{_agreement(heading, words)} {words('private')}"


def _agreement(heading: Heading, words: StatisticsWords) -> str:
    said = [f"{words('made')} {words.moment(heading.made)}."]
    if heading.tally is not None and agrees(heading.tally):
        said.append(f"{words('matches')} ({_tally(heading.tally, words)}).")
    return " ".join(said)


def _tally(tally: dict[str, tuple[int, int]], words: StatisticsWords) -> str:
    """`call receipts 12`, or, if the numbers differ, `call receipts 11, in the chain 12`."""
    return words.semicolon.join(
        f"{words(name)} {words.number(rows)}"
        + (f", {words('in_chain')} {words.number(chain)}" if rows != chain else "")
        for name, (rows, chain) in tally.items()
    )


def _tiles(figures: Statistics, words: StatisticsWords) -> str:
    kept = figures.kept
    refused = f"{words.number(figures.refused)} {words('of')} {words.number(figures.asked)}"
    in_sums = f"{words('in_sums')} {words.number(figures.in_sums)}"
    held = f"{words.number(kept.fates.held)} {words('held')}, {words.size(kept.bytes)}"
    tiles = (
        ("calls", words.number(figures.calls), in_sums if figures.in_sums else ""),
        ("answer_rate", words.share(figures.answer_rate), ""),
        ("refused_share", words.share(figures.refusal_rate), refused if figures.asked else ""),
        ("median_wait", words.length(figures.waits.quantile(0.5)), ""),
        ("stops", words.number(figures.stops), ""),
        ("unheard", words.number(figures.unheard), ""),
        ("kept_now", words.number(kept.fates.kept), held if kept.fates.kept else ""),
    )
    items = (
        f"<div><dt>{escape(words(name))}</dt><dd>{escape(figure)}"
        f"{f'<small>{escape(more)}</small>' if more else ''}</dd></div>"
        for name, figure, more in tiles
    )
    return f'<dl class="tiles">{"".join(items)}</dl>'


def _section(section: Section, words: StatisticsWords) -> str:
    parts = [f"<section>\n<h2>{escape(section.title)}</h2>"]
    if section.plot is None or section.plot.empty:
        parts.append(f"<p>{escape(words('nothing'))}</p>")
    else:
        parts.append(f"<p>{escape(section.note)}</p>")
        drawn = svg(section.plot, words.number, words.colon)
        parts.append(f"<figure{_reached(section.title)}>{drawn}{_key(section.plot)}</figure>")
    parts += [_table(table, section.title) for table in section.tables if table.rows]
    return "\n".join([*parts, "</section>"])


def _key(plot: Plot) -> str:
    """The key of the colours that occur; empty for only one."""
    named = [(place, name) for place, (name, values) in enumerate(plot.series) if name and any(values)]
    items = "".join(
        f'<li><i class="color-{place}" aria-hidden="true"></i>{escape(name)}</li>' for place, name in named
    )
    return f'<ul class="key">{items}</ul>' if items else ""


def _table(table: FigureTable, title: str) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in table.headings)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in table.rows
    )
    body = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
    long = " long" if len(table.rows) > _LONG else ""
    return f'<div class="table{long}" role="region"{_reached(title)}>{body}</div>'


def _reached(title: str) -> str:
    """Readers with a keyboard must be able to reach what scrolls, on a narrow screen all of it."""
    return f' aria-label="{escape(title)}" tabindex="0"'
