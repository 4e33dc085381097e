"""The style of the statistics: of a page of its own, and of the figures, wherever they stand.

Light or dark like the reader's screen, light on paper. A page that has figures says `--paper`, `--card`,
`--ink`, `--soft`, `--line` and `--alarm`.
"""

PAGE = """
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
FIGURES = """
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
