"""A third party's proof of how long the chain was, and when (RFC 3161). Nothing else here uses a network."""
