"""Rules for what comes over the network, as values: messages, requests, descriptions of media, packets.

Opens no socket, and calls no library.
"""
