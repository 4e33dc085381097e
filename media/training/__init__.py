"""Makes the heads of the detector, from many synthetic voices, and people's, over many bad lines.

    speak ──▶ sounds/ ──▶ features ──▶ features/ ──▶ fit ──▶ media/heads/fr.npz, fr.md

Nothing of it is needed to take calls. `python -m media.training --help` says what to install; the same
commands make the same sounds on the same kind of machine. Speakers are kept separate: a voice is in `train`,
`tune` (to choose thresholds) or `test` (only for measuring).
"""
