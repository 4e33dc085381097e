"""Moves all that is kept from one place to another: from a database and files of this machine to those that
hosts share, and back."""
