"""The heads of dense models, each in a file that reads alone."""

__all__: list[str] = []
