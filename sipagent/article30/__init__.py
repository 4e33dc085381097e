"""What the law wants written: the entry of the register (GDPR article 30), the certificate of a deletion."""
