"""How long things are kept, and what may be asked for, by the configuration."""

from datetime import datetime
from typing import TYPE_CHECKING

from retention.rules.approval import Rules
from retention.rules.purge import Terms

if TYPE_CHECKING:
    from sipagent.config.load import Config


def terms_of(config: "Config") -> Terms:
    """The terms of its table `retention`."""
    kept = config.retention
    return Terms(
        period=kept.period, receipts_period=kept.receipts_period, analysis_period=kept.analysis_period
    )


def rules_of(config: "Config", present: datetime) -> Rules:
    """What may be asked for, and approved, at that moment."""
    kept = config.retention
    return Rules(
        grounds=kept.hold_grounds,
        purposes=kept.purposes,
        period=kept.period,
        today=present.astimezone(config.service.timezone).date(),
    )
