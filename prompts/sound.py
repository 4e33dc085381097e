"""What is done to a prompt's samples between the synthesiser and the file: rate, level, silence.

A sound is `(n,) float64`, 1.0 being full scale. Only numpy and the standard library.

Each file says in itself what made it, for programs (AI Act, Regulation (EU) 2024/1689, article 50(2)): as
IPTC's `DigitalSourceType` in XMP (chunk `_PMX`), and in words in INFO, which any player shows. Both stand
before the sound: some players take all behind `data` for sound.
"""

import io
import struct
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float64]

FRAME_S = 0.020
"""Levels are taken over frames of this length (s)."""
ACTIVE_BELOW_LOUD_DB = 25.0
"""A frame is active while it is within this many dB of the loud ones (the 95th percentile)."""
LOOK_AHEAD_S = 0.004


def db(ratio: float) -> float:
    """An amplitude ratio in decibels; silence is -inf."""
    return float(20 * np.log10(ratio)) if ratio > 0 else float("-inf")


def amplitude(decibels: float) -> float:
    """The amplitude ratio of these decibels."""
    return float(10 ** (decibels / 20))


def resample(sound: Sound, from_rate: int, to_rate: int, low: float, high: float) -> Sound:
    """The sound at another rate (Hz), limited to `low`..`high` Hz with edges a seventh of the frequency wide.

    Done on the spectrum of the whole sound, so nothing folds back and phases stay. The sound is taken as a
    loop: what rings past its end continues at its beginning.
    """
    out_length = round(len(sound) * to_rate / from_rate)
    spectrum = np.fft.rfft(sound)
    hertz = np.arange(len(spectrum)) * from_rate / len(sound)
    passed = _edge(hertz, low * 6 / 7, low) * (1 - _edge(hertz, high, min(high * 8 / 7, to_rate / 2)))
    bins = out_length // 2 + 1
    kept = np.zeros(bins, dtype=np.complex128)
    common = min(bins, len(spectrum))
    kept[:common] = (spectrum * passed)[:common]
    return np.fft.irfft(kept, n=out_length) * (out_length / len(sound))


def _edge(hertz: Sound, start: float, end: float) -> Sound:
    """0 below `start`, 1 above `end`, half a cosine between."""
    along = np.clip((hertz - start) / (end - start), 0.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * along), dtype=np.float64)


def frame_rms(sound: Sound, rate: int) -> Sound:
    """The RMS of each whole frame of 20 ms."""
    size = round(rate * FRAME_S)
    whole = len(sound) // size
    frames = sound[: whole * size].reshape(whole, size)
    return np.asarray(np.sqrt(np.mean(frames**2, axis=1)), dtype=np.float64)


def active_rms(sound: Sound, rate: int) -> float:
    """The RMS over the frames in which there is sound, pauses left out (after the idea of ITU-T P.56)."""
    levels = frame_rms(sound, rate)
    if not levels.size:
        return 0.0
    loud = float(np.percentile(levels, 95))
    active = levels[levels >= loud * amplitude(-ACTIVE_BELOW_LOUD_DB)]
    return float(np.sqrt(np.mean(active**2)))


def trim(sound: Sound, rate: int, below_peak_db: float = 40.0, keep_s: float = 0.03) -> Sound:
    """The sound without the near-silence at its ends, `keep_s` of it kept and faded."""
    if not sound.size:
        return sound
    heard = np.flatnonzero(np.abs(sound) > np.abs(sound).max() * amplitude(-below_peak_db))
    margin = round(keep_s * rate)
    cut = sound[max(0, heard[0] - margin) : heard[-1] + margin].copy()
    fade = min(margin, len(cut) // 2)
    slope = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))
    cut[:fade] *= slope
    cut[len(cut) - fade :] *= slope[::-1]
    return cut


def levelled(sound: Sound, rate: int, active_dbfs: float, peak_dbfs: float) -> Sound:
    """The sound with its active parts at one level and no sample above another, both in dBFS."""
    ceiling = amplitude(peak_dbfs)
    for _ in range(8):
        sound = sound * (amplitude(active_dbfs) / active_rms(sound, rate))
        if np.abs(sound).max() <= ceiling:
            return sound
        sound = _limited(sound, rate, ceiling)
    return sound


def _limited(sound: Sound, rate: int, ceiling: float) -> Sound:
    """Peaks turned down smoothly, from a little before them to a little after: nothing is clipped."""
    reach = max(1, round(LOOK_AHEAD_S * rate))
    wanted = np.minimum(1.0, ceiling / np.maximum(np.abs(sound), 1e-9))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(wanted, 2 * reach, mode="edge"), 2 * reach + 1)
    window = np.hanning(2 * reach + 3)[1:-1]
    gain = np.convolve(around.min(axis=1), window / window.sum(), mode="valid")
    return np.asarray(sound * gain, dtype=np.float64)


SPOKEN, COMPOSED = "trainedAlgorithmicMedia", "algorithmicMedia"
"""What made a sound (https://cv.iptc.org/newscodes/digitalsourcetype/): a trained voice, or a formula."""
IN_WORDS = {
    SPOKEN: "Synthetic speech, made by an AI system (Kokoro-82M): Regulation (EU) 2024/1689, article 50(2).",
    COMPOSED: "Synthetic sound, composed by a program.",
}
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{}"/></rdf:RDF></x:xmpmeta>'
)


def write_wav(path: Path, sound: Sound, rate: int, made: str) -> None:
    """Mono 16-bit PCM, marked with what `made` it. Raises ValueError if a sample would not fit, OSError if
    the file can't be written."""
    if np.abs(sound).max() >= 1.0:
        raise ValueError(f"{path}: the sound is louder than full scale")
    plain = io.BytesIO()
    with wave.open(plain, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(marked(plain.getvalue(), made))


def marked(wav: bytes, made: str) -> bytes:
    """The file with what `made` it, before its sound; in place of what stood there besides the format."""
    chunks, at = [], 12
    while at + 8 <= len(wav):
        name, size = struct.unpack_from("<4sI", wav, at)
        if name in (b"fmt ", b"data"):
            chunks.append(_chunk(name, wav[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    words = (("ISFT", "sipagent prompts"), ("ICMT", IN_WORDS[made]))
    info = b"INFO" + b"".join(_chunk(name.encode(), text.encode() + b"\0") for name, text in words)
    xmp = XMP.format(made)
    chunks[1:1] = [_chunk(b"LIST", info), _chunk(b"_PMX", f"{xmp}{' ' * (len(xmp) % 2)}".encode())]
    return _chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def _chunk(name: bytes, content: bytes) -> bytes:
    """Of an even length, which all players read."""
    even = content + b"\0" * (len(content) % 2)
    return name + struct.pack("<I", len(even)) + even
