"""What lies between a mouth and the agent: rooms and what else sounds in them, coders and what gets lost.

Outside the coders all sound is float64 at 8 kHz, full scale 1.0; all random numbers come from the
generator argument.

`carry` gives what arrives on a leg of a clean voice: distance, room, noise, level, coders, loss. Where
callers are, and what their telephones make of it, stands last: rooms, noises, television, noise
suppression.

The coders of telephones: (n,) int16 at 8 kHz in, as many out, in time with what went in.

| coder | kbit/s | by | packets that are lost |
|---|---|---|---|
| alaw, mulaw, linear | 64, 64, 128 | libsndfile, numpy | the last one again, softer each time |
| gsm (full rate) | 13 | libsndfile | the same |
| g722 | 64 | PyPI's `G722` | the same |
| g726 (DECT's) | 32 | PyPI's `av` | the same |
| amrnb | 4.75 to 12.2 | `av` (opencore) | by its decoder |
| amrwb | 6.6 to 23.85 | Debian's `libvo-amrwbenc0`; `av` (opencore) | by its decoder |
| opus (VoIP) | 6 to 12 | `av` (libopus) | by its decoder |

There is no free coder of EVS. What stands for it is amrwb with packets lost in long bursts (`burst`),
which is an assumption and not a measurement.

A coder for 16 kHz is given what 8 kHz have: the agent hears no more of it.
"""

import ctypes
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, istft, lfilter, resample_poly, sosfilt, stft

from media.frame import SAMPLE_RATE, Samples
from prompts.sound import amplitude

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
    hiding = {"amrnb": _amrnb, "amrwb": _amrwb, "opus": _opus}.get(codec)
    if hiding is None:
        return faded(_without_loss(samples, codec), lost)
    late = _LATE[codec]  # as long as what went in, and not later
    padded = np.zeros(-(-(len(samples) + late) // PACKET) * PACKET, dtype=np.int16)
    padded[: len(samples)] = samples
    return hiding(padded, lost, kbits or USUAL_KBITS[codec])[late : late + len(samples)]


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


Waveform: TypeAlias = NDArray[np.float64]
Noise = Literal["white", "pink", "hum", "street", "babble", "music", "echo", "television"]
Backgrounds: TypeAlias = Mapping[Noise, Waveform]
"""Long stretches of babble, music, television and of what the agent plays, to cut noise from."""
Kind = Literal["amrnb", "amrwb", "opus", "twice", "dect", "handsfree", "television"]
"""Of a line of today, in `newer_line`."""

NEWER_SHARE = 0.35
"""How many lines of a training that asks for lines of today are such; the others are those of `any_line`."""
TWICE: tuple[tuple[Codec, Codec], ...] = (
    *(("amrnb", "alaw"), ("amrnb", "amrnb"), ("amrnb", "gsm"), ("amrwb", "alaw")),
    *(("opus", "alaw"), ("g722", "mulaw"), ("alaw", "gsm"), ("gsm", "alaw")),
)
"""Coders one after the other, as between two networks."""


@dataclass(frozen=True, slots=True)
class PhoneLine:
    """The conditions of one call. `snr_db` None: no noise; `loss` is the share of packets lost, in bursts.

    `direct_db`: as in surroundings.room. `suppression_db`: how much softer the telephone makes noise.
    `kbits`: of `codec`, on whose way packets are lost; `then`: the coder of the network behind it. `burst`:
    how likely the packet after a lost one is lost, too.
    """

    level_dbfs: float = -20.0
    noise: Noise = "white"
    snr_db: float | None = None
    reverberation_s: float = 0.0
    tilt_db: float = 0.0
    band: tuple[float, float] | None = (200.0, 3500.0)
    codec: Codec = "alaw"
    loss: float = 0.0
    direct_db: float | None = None
    suppression_db: float = 0.0
    kbits: float | None = None
    then: Codec | None = None
    burst: float = 0.5


def any_line(random: Generator, newer: float = 0.0) -> PhoneLine:
    """A random line as callers have them, bad ones more often; so many of them are a `newer_line`.

    With 0 the lines, and what is drawn for them, are those that the first heads were trained on.
    """
    noises: tuple[Noise, ...] = (
        *("white", "pink", "pink", "pink", "hum", "street", "street"),
        *("babble", "babble", "babble", "babble", "music", "echo", "echo"),
    )
    codecs: tuple[Codec, ...] = ("alaw", "alaw", "alaw", "mulaw", "gsm", "g722", "linear")
    line = PhoneLine(
        level_dbfs=random.uniform(-40, -13),
        noise=noises[random.integers(len(noises))],
        snr_db=None if random.random() < 0.15 else random.uniform(3, 25),
        reverberation_s=0.0 if random.random() < 0.6 else random.uniform(0.1, 0.5),
        tilt_db=random.uniform(-6, 6),
        band=None if random.random() < 0.2 else (random.uniform(80, 320), random.uniform(3000, 3800)),
        codec=codecs[random.integers(len(codecs))],
        loss=0.0 if random.random() < 0.5 else random.uniform(0, 0.05),
    )
    return newer_line(line, random) if newer and random.random() < newer else line


def newer_line(line: PhoneLine, random: Generator, kind: Kind | None = None) -> PhoneLine:
    """`line` as the call of a telephone of today: each kind as often as any other, unless one is given."""
    kinds: tuple[Kind, ...] = ("amrnb", "amrwb", "opus", "twice", "dect", "handsfree", "television")
    kind = kind or kinds[random.integers(len(kinds))]
    if kind == "handsfree":
        far = replace(line, reverberation_s=random.uniform(0.3, 0.9), direct_db=random.uniform(-6, 6))
        return far if random.random() < 0.5 else _mobile(far, "amrnb", random)
    if kind == "television":
        beside = replace(line, noise="television", snr_db=random.uniform(3, 20))
        return beside if random.random() < 0.5 else _mobile(beside, "amrnb", random)
    if kind == "dect":
        return replace(line, codec="g726" if random.random() < 0.6 else "g722", then="alaw")
    if kind == "twice":
        first, second = TWICE[random.integers(len(TWICE))]
        return replace(_mobile(line, first, random), then=second)
    return _mobile(line, kind, random)


def _mobile(line: PhoneLine, codec: Codec, random: Generator) -> PhoneLine:
    rates = {"amrnb": (4.75, 12.2), "amrwb": (6.6, 23.85), "opus": (6.0, 12.0)}
    return replace(
        line,
        codec=codec,
        kbits=random.uniform(*rates[codec]) if codec in rates else None,
        suppression_db=random.uniform(6, 18) if random.random() < 0.6 else 0.0,
        burst=random.uniform(0.3, 0.8),
    )


def carry(sound: Waveform, line: PhoneLine, backgrounds: Backgrounds, random: Generator) -> Samples:
    """What the agent hears of `sound`, (n,) int16. Raises MissingCoder."""
    heard = sound
    if line.reverberation_s:
        heard = room(heard, line.reverberation_s, line.direct_db, random)
    if line.tilt_db:
        heard = _tilt(heard, line.tilt_db)
    heard = heard * (10 ** (line.level_dbfs / 20) / max(active_rms(heard), 1e-6))
    if line.snr_db is not None:
        noise = _noise(line.noise, len(heard), backgrounds, random)
        power = np.sqrt(np.mean(noise**2)) or 1.0
        heard = heard + noise * (10 ** ((line.level_dbfs - line.snr_db) / 20) / power)
    else:
        heard = heard + random.normal(size=len(heard)) * 10 ** (-72 / 20)
    if line.suppression_db:
        heard = suppressed(heard, line.suppression_db)
    if line.band:
        low, high = line.band
        sos = butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")
        heard = np.asarray(sosfilt(sos, heard))
    samples = np.asarray(np.clip(heard, -1, 1 - 2**-15) * 32768, dtype=np.int16)
    lost = lost_packets(len(samples) // PACKET, line.loss, line.burst, random)
    samples = through(samples, line.codec, lost, line.kbits)
    return through(samples, line.then, np.zeros_like(lost)) if line.then else samples


def active_rms(sound: Waveform) -> float:
    """The level (RMS) of its louder parts: of speech without the pauses."""
    blocks = sound[: len(sound) // PACKET * PACKET].reshape(-1, PACKET)
    levels = np.sqrt(np.mean(blocks**2, axis=1)) if len(blocks) else np.zeros(1)
    loud = levels[levels > 0.1 * levels.max()] if levels.max() > 0 else levels
    return float(np.sqrt(np.mean(loud**2)))


def _tilt(sound: Waveform, tilt_db: float) -> Waveform:
    """Brighter or duller: high frequencies louder or softer by about `tilt_db`."""
    high = sound - np.asarray(lfilter([0.3], [1, -0.7], sound))
    return np.asarray(sound + high * (10 ** (tilt_db / 20) - 1))


def _noise(kind: Noise, count: int, backgrounds: Backgrounds, random: Generator) -> Waveform:
    if (source := backgrounds.get(kind)) is None:
        return made_noise(kind, count, random)
    start = int(random.integers(max(1, len(source) - count)))
    return np.resize(source[start : start + count], count)


_BLOCK = 256
_STEPS = 5
"""Of 16 ms, over which suppression is smoothed."""
_NOISE_PERCENT, _NOISE_FACTOR = 20, 1.6
_SCENE_S = (1.5, 6.0)
_FAR_DB = -20.0


def room(sound: Waveform, reverberation_s: float, direct_db: float | None, random: Generator) -> Waveform:
    """With the room's echo, `reverberation_s` until it is 60 dB softer.

    `direct_db`: the direct sound's energy over the echo's; None: that of somebody who holds the telephone, 4
    to 14 dB. Nobody else talks at the same time.
    """
    count = int(reverberation_s * SAMPLE_RATE)
    decay = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count)
    echo = random.uniform(0.2, 0.6) if direct_db is None else amplitude(-direct_db)
    decay *= echo / np.sqrt(np.sum(decay**2))
    decay[0] = 1.0
    size = len(sound) + count
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(decay, size), size)
    return np.asarray(wet[: len(sound)])


def made_noise(kind: str, count: int, random: Generator) -> Waveform:
    """White, pink, hum or street, (count,). ValueError for a kind that isn't made but recorded."""
    noise = random.normal(size=count)
    if kind == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 20)), count)
    elif kind == "hum":
        time = np.arange(count) / SAMPLE_RATE
        tones = [np.sin(2 * np.pi * 50 * n * time) / n for n in (1, 2, 3, 5, 7)]
        noise = np.sum(tones, axis=0) + 0.2 * noise
    elif kind == "street":
        noise = _street(noise, random)
    elif kind != "white":
        raise ValueError(f"no background of {kind} was given")
    return np.asarray(noise)


def _street(noise: Waveform, random: Generator) -> Waveform:
    """Engines and wind that come and go, sometimes with something brighter that passes."""
    low = np.asarray(lfilter([1], [1, -random.uniform(0.9, 0.98)], noise))
    passing = np.asarray(lfilter([1], [1, -random.uniform(0.2, 0.8)], random.normal(size=len(noise))))
    near, far = _come_and_go(low, random) / low.std(), _come_and_go(passing, random) / passing.std()
    return np.asarray(near + 0.4 * far)


def _come_and_go(noise: Waveform, random: Generator) -> Waveform:
    """By some 20 dB, within about a second."""
    points = 2 + len(noise) // int(SAMPLE_RATE * random.uniform(0.3, 1.5))
    levels_db = np.interp(
        np.linspace(0, points, len(noise)), np.arange(points), random.uniform(-18, 0, points)
    )
    return np.asarray(noise * 10 ** (levels_db / 20))


def television(talk: Waveform, music: Waveform, random: Generator) -> Waveform:
    """(n,) like `talk`: scenes of some seconds, of talk, of music, of both, and nearly quiet ones."""
    tune = np.resize(music / _rms(music), len(talk))
    talk = talk / _rms(talk)
    heard, at = np.zeros(len(talk)), 0
    while at < len(talk):
        until = min(len(talk), at + int(random.uniform(*_SCENE_S) * SAMPLE_RATE))
        said, played = ((1.0, 0.0), (1.0, 0.4), (0.0, 1.0), (0.5, 0.5))[random.integers(4)]
        level = amplitude(_FAR_DB) if random.random() < 0.2 else random.uniform(0.4, 1.0)
        heard[at:until] = level * (said * talk[at:until] + played * tune[at:until])
        at = until
    return heard


def suppressed(sound: Waveform, depth_db: float) -> Waveform:
    """As a mobile's noise suppression leaves it: what is steady is softer, by `depth_db` at most.

    Spectral subtraction (Boll, 1979); the noise is what the quietest fifth of the time has, in each band.
    """
    if len(sound) < _BLOCK:
        return sound
    _, _, bands = stft(sound, SAMPLE_RATE, nperseg=_BLOCK)
    size = np.abs(bands)
    noise = np.percentile(uniform_filter1d(size, _STEPS, axis=1), _NOISE_PERCENT, axis=1, keepdims=True)
    left = np.maximum(1 - _NOISE_FACTOR * noise / np.maximum(size, 1e-9), amplitude(-depth_db))
    _, heard = istft(bands * uniform_filter1d(left, _STEPS, axis=1), SAMPLE_RATE, nperseg=_BLOCK)
    return np.asarray(heard[: len(sound)])


def _rms(sound: Waveform) -> float:
    return float(np.sqrt(np.mean(sound**2))) or 1.0
