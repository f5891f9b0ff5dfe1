from . import (
    audio as audio,
    bulk as bulk,
    checkpoints as checkpoints,
    data as data,
    errors as errors,
    exporting as exporting,
    hear_benchmark as hear_benchmark,
    infer as infer,
    metrics as metrics,
    models as models,
    ops as ops,
    recipes as recipes,
    train as train,
    vision as vision,
)
from .errors import AudioMambaError as AudioMambaError
from .exporting import export as export
from .infer import Tag as Tag, Tagger as Tagger, load as load

__version__: str
