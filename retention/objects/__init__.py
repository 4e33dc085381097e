"""What is kept of recordings as objects of an S3-compatible store; files of this host are its spool."""
