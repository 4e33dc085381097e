"""What is kept, for how long, and who used it: rows, files, and the rules for both. It knows no call."""
