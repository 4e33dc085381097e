"""What is written for people: the entry of the register (GDPR article 30), the certificate of a deletion,
the page of statistics; and what a notice must say, and may promise.
"""
