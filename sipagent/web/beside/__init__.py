"""What takes long, and runs beside the answers: commands, counts, and looks at what must be done."""
