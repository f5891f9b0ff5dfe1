"""Weights from elsewhere: the registry, addresses, and the cache of what was fetched."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
