"""What there is to ask for and what comes back, each said once: for who reads it, and for the document."""
