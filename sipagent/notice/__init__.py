"""What prompts say, by the words in the files beside them: what a notice must say, and may promise."""
