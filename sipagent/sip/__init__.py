"""Rules for what comes over the network, as values: requests, sources of sound, transfers.

No socket is opened here, and no library asked.
"""
