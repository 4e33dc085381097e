"""Whether the draws in receipts are those of the seed: for `sipagent draws`.

Pure: receipts and seed in, an Audit out. A draw is in a receipt's events, until the personal fields of the
receipt are emptied, and the events, too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from retention.recording import Json, Receipt, host_of
from sipagent.config.sampling import Draw, Seed, draw


@dataclass(slots=True)
class Audit:
    """`calls` and `drawn` by share; `wrong`: a receipt's id, and what is wrong with its draw.

    `undrawn` counts receipts of calls for which nothing was drawn (rejected, closed, recording switched off),
    `forgotten` those whose events are gone, `elsewhere` those of calls that another host drew for.
    """

    calls: Counter[float] = field(default_factory=Counter)
    drawn: Counter[float] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    undrawn: int = 0
    forgotten: int = 0
    elsewhere: int = 0

    def to_json(self) -> Json:
        """Shares in falling order; `expected` is the average number of drawn calls."""
        return {
            "calls": self.calls.total(),
            "drawn": self.drawn.total(),
            "shares": [
                {
                    "share": share,
                    "calls": count,
                    "drawn": self.drawn[share],
                    "expected": round(share * count, 1),
                }
                for share, count in sorted(self.calls.items(), reverse=True)
            ],
            "undrawn": self.undrawn,
            "forgotten": self.forgotten,
            "elsewhere": self.elsewhere,
            "wrong": [{"id": id, "problem": problem} for id, problem in self.wrong],
        }


def audit(receipts: Iterable[Receipt], seed: Seed | None, host: str | None = None) -> Audit:
    """Repeat every draw. Without a seed no draw can be repeated, so each is wrong.

    `host`: which of several this is; each has a seed of its own, and draws of others are only counted.
    """
    found = Audit()
    for receipt in receipts:
        draws = [one for event in receipt.events if (one := Draw.read(event.what))]
        if host is not None and _is_of_another(receipt.id, draws, seed, host):
            found.elsewhere += 1
            continue
        if len(draws) == 1:
            found.calls[draws[0].share] += 1
            found.drawn[draws[0].share] += draws[0].drawn
        elif _has_forgotten(receipt):
            found.forgotten += 1
        elif not draws:
            found.undrawn += 1
        found.wrong += ((receipt.id, problem) for problem in _problems(receipt, draws, seed))
    return found


def _is_of_another(id: str, draws: list[Draw], seed: Seed | None, host: str) -> bool:
    """Whether another host drew; before there were several, ids named none: then the seed tells."""
    if (of := host_of(id)) is not None:
        return of != host
    return bool(draws) and (seed is None or draws[0].seed != seed.name)


def _has_forgotten(receipt: Receipt) -> bool:
    return receipt.call_id is None and not receipt.events


def _problems(receipt: Receipt, draws: list[Draw], seed: Seed | None) -> Iterator[str]:
    recorded = receipt.recording_id is not None or receipt.decision == "allowed"
    if len(draws) > 1:
        yield f"tells of {len(draws)} draws"
    elif draws:
        yield from _unlike(receipt.id, draws[0], seed)
        if recorded and not draws[0].drawn:
            yield "not drawn, and could be recorded all the same"
        if draws[0].drawn and receipt.decided_by == "sampling":
            yield "drawn, and treated as if it was not"
    elif not _has_forgotten(receipt) and (recorded or receipt.decided_by == "sampling"):
        yield "tells of no draw, and could be recorded" if recorded else "not drawn, and tells of no draw"


def _unlike(id: str, told: Draw, seed: Seed | None) -> Iterator[str]:
    """The differences between a draw and the seed. A draw without a value needs no seed."""
    if told.value is None:
        return
    if seed is None or told.seed != seed.name:
        yield f"drawn with the seed {told.seed}, which is not the one at hand"
    elif draw(seed, id, told.share) != told:
        yield f"tells of {told.value!r}, and the seed says {seed.value(id)!r}"
