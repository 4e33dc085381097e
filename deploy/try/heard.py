"""Listen to the recording of `call.py`: exit 0 if the caller is on the left, the operator on the right."""

import sys

import soundfile

from sipagent.softphone.rtp import strongest

EXPECTED_HZ = (440.0, 880.0)

if __name__ == "__main__":
    sound, rate = soundfile.read(sys.argv[1], dtype="int16", always_2d=True)
    middle = sound[rate : 3 * rate]
    heard = [strongest(middle[:, channel]) for channel in range(sound.shape[1])]
    print(f"{len(sound) / rate:.1f} s; heard: {heard}")
    if len(heard) != len(EXPECTED_HZ) or any(
        hz is None or abs(hz - expected) > 20 for hz, expected in zip(heard, EXPECTED_HZ, strict=True)
    ):
        sys.exit(f"heard.py: expected {EXPECTED_HZ}")
