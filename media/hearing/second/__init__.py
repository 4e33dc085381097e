"""A second opinion on what may be a spoken refusal: a Whisper model that the user supplies, asked about
little."""
