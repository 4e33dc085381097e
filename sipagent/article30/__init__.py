"""The texts that the law requires: the entry of the register (GDPR article 30), the certificate of a
deletion."""
