"""What lies in a PostgreSQL that several hosts share."""
