"""How good the line was: what an engine counts of a leg's streams, as figures of a receipt.

**MOS** is that of the E-model (ITU-T G.107, 2015, section 7), conversational, with its default values for all
that an agent cannot know:

    R = Ro - Is - Id - Ie,eff + A                           7-1; A = 0
    Ie,eff = Ie + (95 - Ie) · Ppl / (Ppl / BurstR + Bpl)    7-29; Ppl in per cent
    BurstR = mean burst observed / mean burst of as many random losses, which is 1 / (1 - loss)
    MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7 · 10^-6      B-4; 1 below 0, 4.5 above 100

Ie and Bpl are of G.113, Appendix I, which has both of G.711 with a concealment of losses, as the engine's. Of
its other codecs, in narrow band, it has not: their MOS is null. Ppl are the packets lost and those too late
to be played; the delay is half the round trip, if RTCP tells of it, and that of the jitter buffer. So it is
about the way from one side to the agent, not from mouth to ear.

**The level** is of the samples as they come: dBov of 100 ms that are louder than SILENT_DBOV (ITU-T G.100.1:
0 is a square wave at full scale, a sine reaches -3), and the share of their samples at full scale.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from media.frame import SAMPLE_RATE, Samples
from retention.records import LegQuality, Quality

IMPAIRMENTS = {"PCMA": (0.0, 25.1), "PCMU": (0.0, 25.1)}
"""Ie and Bpl by the name of a codec: G.113, Appendix I."""
MOST_LOSS, MOST_BURSTS = 20.0, 8.0  # what the model is made for: G.107, table 2


@dataclass(frozen=True, slots=True)
class Stream:
    """What an engine counts of one RTP stream that it receives, at its end.

    `bursts`: gaps in which packets were lost. `late`: came after their turn, or too many at
    once, and were dropped. `concealed_ms`: made up by the
    jitter buffer, which held `buffer_ms` on average. `rtt_ms`: None where no report came by RTCP.
    """

    codec: str
    packets: int
    lost: int = 0
    bursts: int = 0
    late: int = 0
    concealed_ms: float = 0.0
    jitter_ms: float = 0.0
    rtt_ms: float | None = None
    buffer_ms: float = 0.0


def rating(
    ie: float, bpl: float, loss: float = 0.0, burst_ratio: float = 1.0, delay_ms: float = 0.0
) -> float:
    """R of the E-model; `loss`: share of packets; `delay_ms`: one way."""
    ppl = min(100 * loss, MOST_LOSS)
    bursty = min(max(burst_ratio, 1.0), MOST_BURSTS)
    return _RO - _IS - _delay_impairment(delay_ms) - (ie + (95 - ie) * ppl / (ppl / bursty + bpl))


def mos(rating: float) -> float:
    """The mean opinion that users have of a connection with that R."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6


# of G.107's default values, table 2: noise by 7-3 to 7-7, Ro by 7-2, Is by 7-8 to 7-17, echo
_NO, _RO, _IS = -61.179, 94.769, 1.414
_RLR, _TELR, _WEPL = 2.0, 65.0, 110.0


def _delay_impairment(delay_ms: float) -> float:
    """Id: echo of the talker, echo of the listener, delay as such (7-18 to 7-28)."""
    louder = 40 * math.log10((1 + delay_ms / 10) / (1 + delay_ms / 150))
    terv: float = _TELR - louder + 6 * math.exp(-0.3 * delay_ms**2)
    roe, re = -1.5 * (_NO - _RLR), 80 + 2.5 * (terv - 14)
    talker = ((roe - re) / 2 + math.sqrt((roe - re) ** 2 / 4 + 100) - 1) * (1 - math.exp(-delay_ms))
    rle: float = 10.5 * (_WEPL + 7) * (2 * delay_ms + 1) ** -0.25
    listener = (_RO - rle) / 2 + math.sqrt((_RO - rle) ** 2 / 4 + 169)
    if delay_ms <= 100:
        return talker + listener
    x = math.log2(delay_ms / 100)
    late: float = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return talker + listener + late


def burst_ratio(lost: int, bursts: int, expected: int) -> float:
    """BurstR of so many lost packets in so many gaps, of those that were `expected`."""
    return lost / bursts * (1 - lost / expected) if bursts else 1.0


SILENT_DBOV = -50.0  # noise of a quiet line is below, a soft voice above
_BLOCK = SAMPLE_RATE // 10
_AT_ONCE = SAMPLE_RATE  # samples: numpy's price of a call is paid once a second
_FULL = 32124  # the largest of µ-law; A-law's is above, each law's next one below
_SILENT = 32768.0**2 * 10 ** (SILENT_DBOV / 10)


class Level:
    """Of a leg's sound; `hear` on one thread, `told` once that is over."""

    def __init__(self) -> None:
        self._waiting: list[Samples] = []
        self._count = 0  # of the samples that wait
        self._blocks = 0  # louder than silence
        self._power = 0.0  # the sum of theirs
        self._clipped = 0

    def hear(self, samples: Samples) -> None:
        """Take (n,) int16, which nobody changes."""
        self._waiting.append(samples)
        self._count += samples.size
        if self._count >= _AT_ONCE:
            self._measure()

    def _measure(self) -> None:
        sound = np.concatenate(self._waiting) if self._waiting else np.empty(0, np.int16)
        self._waiting, self._count = [], 0
        blocks = sound[: sound.size // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(np.float32)
        powers = np.einsum("ij,ij->i", blocks, blocks) / _BLOCK
        loud = powers > _SILENT
        self._blocks += int(np.count_nonzero(loud))
        self._power += float(powers[loud].sum())
        if sound.size and max(int(sound.max()), -int(sound.min())) >= _FULL:
            self._clipped += int(np.count_nonzero(np.abs(blocks[loud]) >= _FULL))

    def told(self) -> tuple[float, float] | None:
        """Level in dBov and share of clipped samples; None where nothing was louder than silence."""
        self._measure()
        if not self._blocks:
            return None
        level = 10 * math.log10(self._power / self._blocks / 32768.0**2)
        return round(level, 1), round(self._clipped / (self._blocks * _BLOCK), 5)


def leg_quality(streams: Sequence[Stream], level: Level | None = None) -> LegQuality | None:
    """Of all streams of one side, those of several legs too; None without any."""
    if not streams:
        return None
    packets = sum(one.packets for one in streams)
    lost, bursts, late = (sum(getattr(one, name) for one in streams) for name in ("lost", "bursts", "late"))
    codec = max(streams, key=lambda one: one.packets).codec
    rtt_ms = _mean((one.rtt_ms, one.packets) for one in streams)
    loud = level.told() if level else None
    rated = None
    if packets and (known := IMPAIRMENTS.get(codec)):
        delay_ms = (rtt_ms or 0.0) / 2 + (_mean((one.buffer_ms, one.packets) for one in streams) or 0.0)
        expected = packets + lost
        ratio = burst_ratio(lost, bursts, expected)
        rated = round(mos(rating(*known, (lost + late) / expected, ratio, delay_ms)), 2)
    return LegQuality(
        codec=codec,
        packets=packets,
        lost=lost,
        lost_bursts=bursts,
        late=late,
        concealed_ms=round(sum(one.concealed_ms for one in streams)),
        jitter_ms=_rounded(_mean((one.jitter_ms, one.packets) for one in streams)),
        rtt_ms=_rounded(rtt_ms),
        mos=rated,
        level_dbov=loud[0] if loud else None,
        clipped=loud[1] if loud else None,
    )


def call_quality(caller: LegQuality | None, operator: LegQuality | None) -> Quality | None:
    """Of both sides; None where there was no sound to measure."""
    if caller is None and operator is None:
        return None
    heard = caller is not None and caller.packets > 0, operator is not None and operator.packets > 0
    both = caller is not None and operator is not None
    one_way = {(False, True): "caller", (True, False): "operator"}.get(heard) if both else None
    return Quality(caller=caller, operator=operator, one_way=one_way)


def _mean(values: Iterable[tuple[float | None, int]]) -> float | None:
    """By weight, of those that there are."""
    there = [(value, weight) for value, weight in values if value is not None and weight]
    return sum(value * weight for value, weight in there) / sum(w for _, w in there) if there else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
