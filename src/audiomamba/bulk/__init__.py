"""Many files by many processes on many machines: nothing lost, nothing done twice.

A plan lists the files once and cuts them into parts. A part is computed by whoever takes it, is
written as a whole, and has a record of completion that is written last. All that is known is in the
output's folder, which may be on an object store; no process has to survive.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
