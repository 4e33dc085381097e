"""Rows that are kept, and the chain over them, whichever database it is. Touches no file of a recording."""
