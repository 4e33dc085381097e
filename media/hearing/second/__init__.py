"""A second opinion on what callers say before the bridge: a Whisper model that the user supplies."""
