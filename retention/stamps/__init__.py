"""A third party's word on when the chain was how far (RFC 3161). Nothing else here speaks to a network."""
