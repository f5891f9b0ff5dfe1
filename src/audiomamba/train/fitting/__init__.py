"""One run: its steps, its state, its files."""
