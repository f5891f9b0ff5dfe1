"""Clips with labels: manifests of data sets, reading, augmentation and batches for training.

manifest = open_manifest(Path("ESC-10"), corpus="esc10")
training, held_out = manifest.partition("1")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
