"""Weights from elsewhere: the registry, addresses, and the cache of what was fetched."""

from audiomamba.hub.address import ENDINGS, HubAddress, WebAddress, is_address, parse_address
from audiomamba.hub.cache import (
    CacheEntry,
    alone,
    cache_folder,
    cached_model,
    clear_cache,
    forget,
    list_cache,
    making,
    recall,
    remember,
    web_folder,
)
from audiomamba.hub.hugging_face import Snapshot, check_file, fetch_from_hub, newest_commit
from audiomamba.hub.network import go_offline, is_offline, reporting
from audiomamba.hub.released import (
    RELEASED,
    RELEASED_BY_NAME,
    Released,
    get_released,
    released_of,
)
from audiomamba.hub.web import fetch_from_web

__all__ = [
    "ENDINGS",
    "RELEASED",
    "RELEASED_BY_NAME",
    "CacheEntry",
    "HubAddress",
    "Released",
    "Snapshot",
    "WebAddress",
    "alone",
    "cache_folder",
    "cached_model",
    "check_file",
    "clear_cache",
    "fetch_from_hub",
    "fetch_from_web",
    "forget",
    "get_released",
    "go_offline",
    "is_address",
    "is_offline",
    "list_cache",
    "making",
    "newest_commit",
    "parse_address",
    "recall",
    "released_of",
    "remember",
    "reporting",
    "web_folder",
]
