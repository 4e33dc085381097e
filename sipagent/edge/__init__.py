"""Kamailio as the edge: its plan, its files, its process, the requests to it.

No call is decided here.
"""
