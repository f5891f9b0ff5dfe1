"""The layers that several models share: patches, mixers, convolutions, padding of batches.

A model file imports `models.base` and these files, never another model.
"""

__all__: list[str] = []
