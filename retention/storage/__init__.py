"""Files that are kept: sound, keys, marks, and where they lie. Knows no database; nothing else unlinks."""
