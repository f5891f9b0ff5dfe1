"""Trained models that others learn from."""

__all__: list[str] = []
