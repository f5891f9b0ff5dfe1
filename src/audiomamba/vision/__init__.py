"""Dense tasks on images: a class for each pixel, and objects with their boxes and masks.

model = audiomamba.vision.create("mambaout_tiny_upernet", n_classes=19)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
