"""Sets of images for dense tasks and classification."""

__all__: list[str] = []
