"""What calls leave behind, written off the SIP thread: rows, recordings, erasures.

No file is named here that retention does not name.
"""
