"""Rows and files together, so that no crash leaves one without the other. It decides nothing."""
