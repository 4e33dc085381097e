"""What a host writes first where several share one database: its journal, the way out of it, who lives."""
