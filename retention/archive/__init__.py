"""Rows and files together, such that no crash leaves one without the other. It decides nothing."""
