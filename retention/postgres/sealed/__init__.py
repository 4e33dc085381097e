"""How rows are sealed: their keys in the vault, what of them is written, and how persons are found."""
