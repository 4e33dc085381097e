"""Rows that are kept, and the chain over them: all SQL is here. Touches no file of a recording."""
