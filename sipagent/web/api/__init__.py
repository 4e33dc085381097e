"""The interface for programs, below /api/v1: JSON as the commands give it. Addresses in `ENTRIES`, too."""
