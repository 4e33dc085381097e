"""Makes the heads of the detector: many synthetic voices over many bad lines, and people's besides.

    speak ──▶ sounds/ ──▶ features ──▶ features/ ──▶ fit ──▶ media/heads/fr.npz, fr.md

Nothing of it is needed to take calls. `python -m media.training --help` says what to install; the same
commands make the same sounds on the same kind of machine. Speakers are apart: a voice is one of `train`,
`tune` (thresholds are chosen on it) or `test` (only ever measured on).
"""
