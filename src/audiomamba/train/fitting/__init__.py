"""One run: its steps, its state, its files."""

__all__: list[str] = []
