"""A SIP agent that records calls only with the caller's informed will."""

__version__ = "0.1.0"
