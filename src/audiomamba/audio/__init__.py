"""Sound in, features out: decoding, change of rate and the log-mel front ends.

Knows no labels and no data sets. The names below are loaded on first use, so that importing this
package loads neither torch nor a decoder.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
