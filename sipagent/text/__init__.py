"""What is written for people: the entry of the register (GDPR article 30), the certificate of a deletion,
the page of statistics; and what a notice must say, and may promise.

The values are computed here; what is said stands beside, one file a language (`template`).
"""
