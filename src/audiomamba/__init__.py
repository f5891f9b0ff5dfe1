"""Tag recordings, and train audio classifiers, with encoders that scan instead of attend.

    import audiomamba

    tagger = audiomamba.load("general")
    for tag in tagger.tag("dog.ogg"):
        print(tag.label, tag.score)

Importing the package loads nothing else: torch and the modules below come with their first use.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
