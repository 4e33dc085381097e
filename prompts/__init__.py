"""The sounds a caller hears, with their words, and the scripts that made them (see README.md)."""
