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
from sipagent.stats.words import StatisticsWords

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LONG = 14  # from this many rows on, a table scrolls on a screen
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --card: #f6f7f9; --ink: #1c2128; --soft: #5b6470;
  --line: #d9dde3; --alarm: #b3261e; --c0: #2f6db5; --c1: #e0902a; --c2: #8b6fc0; --c3: #a9b0ba;
  --c4: #3b9a7d; --c5: #c9534f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --card: #1d2128; --ink: #e6e9ee;
  --soft: #a2abb8; --line: #363c46; --alarm: #ff8a80; --c0: #6ea3e0; --c1: #eeaa55; --c2: #a993d9;
  --c3: #6c7480; --c4: #5cb99b; --c5: #e27d79; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; text-wrap: balance; }
h2 { margin: 0; font-size: 1.15rem; }
p { margin: .25rem 0 0; color: var(--soft); font-size: .9rem; }
section { margin-top: 2.5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0 0; }
.tiles div { padding: .75rem 1rem; border-radius: .5rem; background: var(--card); }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.3; }
dd small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; }
figure { margin: .75rem 0 0; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 34rem; height: auto; }
svg text { fill: var(--soft); font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg .axis.x text { text-anchor: middle; }
svg .axis.y text { text-anchor: end; }
svg path { fill: none; stroke: var(--line); }
svg .vertical .axis.x path, svg .horizontal .axis.y path { display: none; }
svg rect:hover { opacity: .8; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .75rem 0 0; padding: 0;
  list-style: none; font-size: .85rem; }
.key i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; }
.color-0 { fill: var(--c0); background: var(--c0); } .color-1 { fill: var(--c1); background: var(--c1); }
.color-2 { fill: var(--c2); background: var(--c2); } .color-3 { fill: var(--c3); background: var(--c3); }
.color-4 { fill: var(--c4); background: var(--c4); } .color-5 { fill: var(--c5); background: var(--c5); }
.table { margin-top: 1rem; overflow: auto; }
.long { max-height: 22rem; border-bottom: 1px solid var(--line); }
table { width: 100%; border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child { padding-left: 0; text-align: left; font-weight: 400; }
thead th, thead th:first-child { position: sticky; top: 0; background: var(--paper); color: var(--soft);
  font-weight: 600; vertical-align: bottom; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); }
.alarm { padding: .5rem 1rem; border: 2px solid var(--alarm); border-radius: .5rem; }
.alarm p { margin: 0; color: var(--alarm); font-weight: 600; }
@media print { :root { color-scheme: light; --paper: #fff; --card: #f2f3f5; --ink: #000; --soft: #444;
  --line: #bbb; --alarm: #b3261e; --c0: #2f6db5; --c1: #e0902a; --c2: #8b6fc0; --c3: #a9b0ba;
  --c4: #3b9a7d; --c5: #c9534f; }
  body { max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
  figure, .tiles, tr, h2 { break-inside: avoid; } h2 { break-after: avoid; }
  .table, .long { max-height: none; overflow: visible; } thead th { position: static; } }
"""


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
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<header>",
        f"<h1>{title}</h1>\n<p>{escape(_period(heading, words))}</p>",
        _alarm(figures, heading, words),
        f"</header>\n<main>\n{_tiles(figures, words)}",
        *(_section(section, words) for section in sections(figures, words, _last_day(heading))),
        f"</main>\n<footer><p>{escape(_foot(heading, words))}</p></footer>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


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
    said = [f"{words('made')} {words.moment(heading.made)}."]
    if heading.tally is not None and agrees(heading.tally):
        said.append(f"{words('matches')} ({_tally(heading.tally, words)}).")
    return " ".join([*said, words("private")])


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
        parts.append(f"<figure>{svg(section.plot, words.number, words.colon)}{_key(section.plot)}</figure>")
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
    if len(table.rows) <= _LONG:
        return f'<div class="table">{body}</div>'
    # readers with a keyboard must be able to reach what scrolls
    return f'<div class="table long" role="region" aria-label="{escape(title)}" tabindex="0">{body}</div>'
