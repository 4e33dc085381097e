"""Tests of the page: without a server, with one, and in a browser."""
