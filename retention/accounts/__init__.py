"""Accounts of people and tokens of programs, in a database of their own beside the other."""
