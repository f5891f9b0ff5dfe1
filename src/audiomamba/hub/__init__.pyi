from .address import (
    ENDINGS as ENDINGS,
    HubAddress as HubAddress,
    WebAddress as WebAddress,
    is_address as is_address,
    parse_address as parse_address,
)
from .cache import (
    CacheEntry as CacheEntry,
    alone as alone,
    cache_folder as cache_folder,
    cached_model as cached_model,
    clear_cache as clear_cache,
    forget as forget,
    list_cache as list_cache,
    making as making,
    recall as recall,
    remember as remember,
    web_folder as web_folder,
)
from .hugging_face import (
    Snapshot as Snapshot,
    check_file as check_file,
    fetch_from_hub as fetch_from_hub,
    newest_commit as newest_commit,
)
from .network import (
    endpoint as endpoint,
    is_offline as is_offline,
    reporting as reporting,
    without_network as without_network,
)
from .released import (
    RELEASED as RELEASED,
    RELEASED_BY_NAME as RELEASED_BY_NAME,
    Released as Released,
    get_released as get_released,
    released_of as released_of,
)
from .web import (
    fetch_from_web as fetch_from_web,
)
