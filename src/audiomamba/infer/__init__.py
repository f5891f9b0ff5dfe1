"""Recordings in; tags, events and embeddings out: any length, one model loaded once."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
