"""The example values of the shipped config.toml: told to callers, they would be false."""

import re

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
