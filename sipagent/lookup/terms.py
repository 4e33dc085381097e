"""How long things are kept, by the configuration."""

from typing import TYPE_CHECKING

from retention.rules.purge import Terms

if TYPE_CHECKING:
    from sipagent.config.load import Config


def terms_of(config: "Config") -> Terms:
    """The terms of its table `retention`."""
    kept = config.retention
    return Terms(
        period=kept.period, receipts_period=kept.receipts_period, analysis_period=kept.analysis_period
    )
