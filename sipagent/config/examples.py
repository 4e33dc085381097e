"""The example values of the shipped config.toml: told to callers, they would be false."""

import re
from pathlib import Path

from sipagent.config.errors import ConfigError
from sipagent.config.tables.service import ServiceTable

SHIPPED = {
    "name": "Agglo J'écoute",
    "controller": "Communauté d'agglomération du Saint-Quentinois",
    "controller_contact": "contact@example.org",
    "dpo_contact": "dpo@example.org",
}
"""By the key of [service]."""
# Reserved for examples (RFC 2606 section 3): no one can be reached there.
_EXAMPLE = re.compile(r"@(?:[\w-]+\.)*example(?:\.(?:com|net|org))?(?![\w-]|\.\w)", re.IGNORECASE)


def is_example(text: str) -> bool:
    """Whether it has an address that cannot exist."""
    return _EXAMPLE.search(text) is not None


def left_in_place(key: str, value: str) -> bool:
    """Whether a key of [service] still has its shipped value, or another example."""
    return value.strip() == SHIPPED.get(key) or is_example(value)


def left(service: ServiceTable) -> dict[str, str]:
    """What still has its shipped value, or another example, by its key of [service]."""
    values = {key: str(getattr(service, key)) for key in SHIPPED}
    return {key: value for key, value in values.items() if left_in_place(key, value)}


def told(value: str) -> str:
    """What is wrong with an example."""
    return f"{value!r} is the shipped example: callers, and whoever asks, are told it"


def refuse(service: ServiceTable, file: Path) -> None:
    """Raise ConfigError for the first example, in this file: where a network can call."""
    for key, value in left(service).items():
        raise ConfigError(file, f"service.{key}", told(value), "yours, or trunk.listen on 127.0.0.1")
