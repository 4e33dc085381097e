"""Amounts as people read them in every language: on the terminal and on the page."""


def length(seconds: float | None) -> str:
    """`4:05`, `1:04:05`; a dash if unknown."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
