"""Weights from elsewhere: the registry, addresses, and the cache of what was fetched."""

from audiomamba.hub.address import ENDINGS, HubAddress, WebAddress, is_address, parse_address
from audiomamba.hub.cache import (
    CacheEntry,
    cache_folder,
    cached_model,
    clear_cache,
    forget,
    list_cache,
    making,
    recall,
    remember,
)
from audiomamba.hub.released import (
    RELEASED,
    RELEASED_BY_NAME,
    Released,
    get_released,
    released_of,
)

__all__ = [
    "ENDINGS",
    "RELEASED",
    "RELEASED_BY_NAME",
    "CacheEntry",
    "HubAddress",
    "Released",
    "WebAddress",
    "cache_folder",
    "cached_model",
    "clear_cache",
    "forget",
    "get_released",
    "is_address",
    "list_cache",
    "making",
    "parse_address",
    "recall",
    "released_of",
    "remember",
]
