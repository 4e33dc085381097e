"""SQLite itself: the connection, the tables as migrations, and whose turn it is to write."""
