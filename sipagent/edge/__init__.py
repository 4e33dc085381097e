"""Kamailio as the edge: its plan, its files, its process, what is asked of it.

No call is decided here.
"""
