"""What prompts say, by the words that lie beside them: what a notice must say, and may promise."""
