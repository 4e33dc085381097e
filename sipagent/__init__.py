"""A SIP agent that tells callers before it records, and records nobody who refuses."""

__version__ = "0.1.0"
