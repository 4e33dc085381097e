"""The statistics as a page."""
