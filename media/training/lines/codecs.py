"""The coders of telephones: (n,) int16 at 8 kHz in, as many out, in time with what went in.

| coder | kbit/s | by | packets that are lost |
|---|---|---|---|
| alaw, mulaw, linear | 64, 64, 128 | libsndfile, numpy | the last one again, softer each time |
| gsm (full rate) | 13 | libsndfile | the same |
| g722 | 64 | PyPI's `G722` | the same |
| g726 (DECT's) | 32 | PyPI's `av` | the same |
| amrnb | 4.75 to 12.2 | `av` (opencore) | by its decoder |
| amrwb | 6.6 to 23.85 | Debian's `libvo-amrwbenc0`; `av` (opencore) | by its decoder |
| opus (VoIP) | 6 to 12 | `av` (libopus) | by its decoder |

There is no free coder of EVS. What stands for it is amrwb with packets lost in long bursts (`burst`), which
is an assumption and not a measurement.

A coder for 16 kHz is given what 8 kHz have: the agent hears no more of it.
"""

import ctypes
import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import resample_poly

from media.frame import SAMPLE_RATE, Samples

Codec = Literal["alaw", "mulaw", "gsm", "g722", "linear", "g726", "amrnb", "amrwb", "opus"]
Lost: TypeAlias = NDArray[np.bool_]
"""(packets,): which are lost."""

PACKET = SAMPLE_RATE // 50
SOFTER = 0.6
AMRNB_KBITS = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
AMRWB_KBITS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
USUAL_KBITS: dict[Codec, float] = {"amrnb": 12.2, "amrwb": 12.65, "opus": 12.0}
_LATE: dict[Codec, int] = {"g722": 11, "amrnb": 39, "amrwb": 47, "opus": 51}
"""By how many samples of 8 kHz what comes out is late, measured by correlation; taken off but for g722, whose
sound heads were trained on as it comes."""
_NO_FRAME = b"\x7c"
"""AMR's frame type 15: the decoder hides that one is missing."""
_WB_LIBRARY = "libvo-amrwbenc.so.0"
_WB_LONGEST = 64
_PCM = {"alaw": "ALAW", "mulaw": "ULAW", "gsm": "GSM610"}


class MissingCoder(Exception):
    """A coder isn't installed; str() is one line that says how to get it."""


def lost_packets(count: int, share: float, burst: float, random: Generator) -> Lost:
    """Which of `count` packets are lost: `share` of them, the first never.

    `burst`: how likely the next one is lost too; their mean length is 1 / (1 - burst).
    """
    lost = np.zeros(count, dtype=np.bool_)
    if share:
        for number in range(1, count):
            lost[number] = random.random() < (burst if lost[number - 1] else share * (1 - burst))
    return lost


def through(samples: Samples, codec: Codec, lost: Lost, kbits: float | None = None) -> Samples:
    """Coded, without the packets that are `lost`, and decoded, which hides that they are missing.

    `kbits`: of amrnb, amrwb and opus. Raises MissingCoder.
    """
    kbits = kbits or USUAL_KBITS.get(codec, 0.0)
    if codec == "amrnb":
        return _in_time(samples, codec, lambda sound: _amrnb(sound, lost, kbits))
    if codec == "amrwb":
        return _in_time(samples, codec, lambda sound: _amrwb(sound, lost, kbits))
    if codec == "opus":
        return _in_time(samples, codec, lambda sound: _opus(sound, lost, kbits))
    return faded(_without_loss(samples, codec), lost)


def faded(samples: Samples, lost: Lost) -> Samples:
    """Each lost packet replaced by the one before, softer each time."""
    if not lost.any():
        return samples
    heard = samples.copy()
    for number in np.flatnonzero(lost[: len(samples) // PACKET]):
        last = heard[(number - 1) * PACKET : number * PACKET]
        heard[number * PACKET : (number + 1) * PACKET] = (last * SOFTER).astype(np.int16)
    return heard


def _without_loss(samples: Samples, codec: Codec) -> Samples:
    if codec == "linear":
        return samples
    if codec == "g722":
        return _g722(samples)
    if codec == "g726":
        return _g726(samples)
    coded = io.BytesIO()
    soundfile.write(coded, samples, SAMPLE_RATE, _PCM[codec], format="WAV")
    coded.seek(0)
    return np.asarray(soundfile.read(coded, dtype="int16")[0][: len(samples)])


def _in_time(samples: Samples, codec: Codec, coded: Callable[[Samples], Samples]) -> Samples:
    """As long as what went in, and not later."""
    late = _LATE[codec]
    padded = np.zeros(-(-(len(samples) + late) // PACKET) * PACKET, dtype=np.int16)
    padded[: len(samples)] = samples
    return coded(padded)[late : late + len(samples)]


def _g722(samples: Samples) -> Samples:
    """Coded and decoded at 64 kbit/s, at 16 kHz as usual, of which the agent hears 8 kHz."""
    try:
        from G722 import G722
    except ImportError as wrong:
        raise MissingCoder("G.722 needs PyPI's G722: pip install 'sipagent[train]'") from wrong
    coded = G722(16_000, 64_000).encode(_wide(samples))
    heard = np.asarray(G722(16_000, 64_000).decode(coded), dtype=np.float64)
    return np.asarray(np.resize(resample_poly(heard, 1, 2), len(samples)), dtype=np.int16)


def _g726(samples: Samples) -> Samples:
    padded = np.concatenate([samples, np.zeros(-len(samples) % 2, dtype=np.int16)])  # two samples a byte
    packets = _encoded("g726", padded, SAMPLE_RATE, 32.0)
    found = _decoded("g726", packets, SAMPLE_RATE, {"bits_per_coded_sample": "4"})
    return np.resize(found, len(samples))


def _amrnb(samples: Samples, lost: Lost, kbits: float) -> Samples:
    packets = _encoded("libopencore_amrnb", samples, SAMPLE_RATE, _nearest(AMRNB_KBITS, kbits))
    return _decoded("libopencore_amrnb", _missing(packets, lost, lambda _: _NO_FRAME), SAMPLE_RATE)


def _amrwb(samples: Samples, lost: Lost, kbits: float) -> Samples:
    mode = AMRWB_KBITS.index(_nearest(AMRWB_KBITS, kbits))
    packets = _missing(list(_amrwb_packets(_wide(samples), mode)), lost, lambda _: _NO_FRAME)
    return _narrow(_decoded("libopencore_amrwb", packets, 2 * SAMPLE_RATE), 2)


def _opus(samples: Samples, lost: Lost, kbits: float) -> Samples:
    """Of a lost packet its first byte is left, which for a decoder is a lost frame (RFC 6716, 3.2.1)."""
    options = {"application": "voip", "frame_duration": "20"}
    packets = _encoded("libopus", _wide(samples), 2 * SAMPLE_RATE, kbits, options)
    return _narrow(_decoded("libopus", _missing(packets, lost, lambda packet: packet[:1]), 48_000), 6)


def _missing(packets: Sequence[bytes], lost: Lost, instead: Callable[[bytes], bytes]) -> list[bytes]:
    return [
        instead(packet) if number < len(lost) and lost[number] else packet
        for number, packet in enumerate(packets)
    ]


def _wide(samples: Samples) -> Samples:
    """At 16 kHz."""
    return np.asarray(np.clip(resample_poly(samples, 2, 1), -32768, 32767), dtype=np.int16)


def _narrow(samples: Samples, factor: int) -> Samples:
    heard = resample_poly(samples.astype(np.float64), 1, factor)
    return np.asarray(np.clip(heard, -32768, 32767), dtype=np.int16)


def _nearest(rates: Sequence[float], kbits: float) -> float:
    return min(rates, key=lambda rate: abs(rate - kbits))


def _encoded(
    name: str, samples: Samples, rate: int, kbits: float, options: dict[str, str] | None = None
) -> list[bytes]:
    """The packets of 20 ms."""
    av, coder = _coder(name, "w")
    coder.sample_rate, coder.layout, coder.format = rate, "mono", "s16"
    coder.bit_rate, coder.options = round(1000 * kbits), options or {}
    size = rate // 50
    found: list[bytes] = []
    for at in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, at
        found += map(bytes, coder.encode(frame))
    return found + [bytes(packet) for packet in coder.encode(None)]


def _decoded(
    name: str, packets: Sequence[bytes], rate: int, options: dict[str, str] | None = None
) -> Samples:
    """(n,) int16 at `rate`."""
    av, coder = _coder(name, "r")
    coder.sample_rate, coder.layout, coder.options = rate, "mono", options or {}
    frames = [frame for packet in packets for frame in coder.decode(av.Packet(packet))]
    return np.concatenate(
        [np.zeros(0, dtype=np.int16), *(frame.to_ndarray().reshape(-1) for frame in frames)]
    )


def _coder(name: str, mode: Literal["r", "w"]) -> tuple[Any, Any]:
    """PyAV, and a coder of ffmpeg's."""
    try:
        import av
    except ImportError as wrong:
        raise MissingCoder(f"{name} needs PyPI's av: pip install 'sipagent[train]'") from wrong
    try:
        return av, av.CodecContext.create(name, mode)
    except av.codec.codec.UnknownCodecError as wrong:
        raise MissingCoder(
            f"{name} is not in this build of PyPI's av, but in its wheel: pip install --only-binary av av"
        ) from wrong


def _amrwb_packets(samples: Samples, mode: int) -> Iterator[bytes]:
    """Of (n,) int16 at 16 kHz, n in whole packets."""
    library = _amrwb_library()
    state, out = library.E_IF_init(), ctypes.create_string_buffer(_WB_LONGEST)
    try:
        for at in range(0, len(samples), 2 * PACKET):
            packet = np.ascontiguousarray(samples[at : at + 2 * PACKET])
            size = library.E_IF_encode(state, mode, packet.ctypes.data, out, 0)
            yield out.raw[:size]
    finally:
        library.E_IF_exit(state)


@cache
def _amrwb_library() -> Any:
    try:
        library = ctypes.CDLL(_WB_LIBRARY)
    except OSError as wrong:
        raise MissingCoder(f"AMR-WB needs {_WB_LIBRARY}: apt install libvo-amrwbenc0") from wrong
    library.E_IF_init.restype = ctypes.c_void_p
    library.E_IF_encode.argtypes = [
        *(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
    ]
    library.E_IF_exit.argtypes = [ctypes.c_void_p]
    return library
