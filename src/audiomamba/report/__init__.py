"""Runs as a page for the browser: curves, classes, confusions, and the clips worth hearing.

write_report([Path("runs/mine")], Path("report.html"))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
