"""Rules for what comes over the network, as values: requests, sources of sound, transfers.

Opens no socket, and calls no library.
"""
