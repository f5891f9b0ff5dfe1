"""What the transformers library needs beside a model folder's own files, to load it too.

It is told the labels, how to read sound (its own extractor, which pads) and where the classes are:
in a short file that takes them from the installed audiomamba, or, where audiomamba.hf was imported,
there itself.
"""

from collections.abc import Mapping
from typing import Any

from audiomamba.audio import FrontEnd

__all__ = ["CODE", "CODE_FILE", "PREPROCESSOR_FILE", "preprocessor", "settings"]

CODE_FILE = "modeling_audiomamba.py"
PREPROCESSOR_FILE = "preprocessor_config.json"
CLASSES = {"AutoConfig": "AudioMambaConfig", "AutoModelForAudioClassification": "AudioMambaModel"}
CODE = '''"""The classes of this model are part of the package: pip install 'audiomamba[hf]'."""

import audiomamba.hf


class AudioMambaConfig(audiomamba.hf.AudioMambaConfig):
    """Settings of the model."""


class AudioMambaModel(audiomamba.hf.AudioMambaModel):
    """The model."""

    config_class = AudioMambaConfig
'''


def settings(labels: tuple[str, ...]) -> dict[str, Any]:
    """What config.json says to the transformers library.

    Args:
        labels: names of the classes.

    Returns:
        Values by key. The classes count as independent for the library, whose sigmoid then gives
        this package's own scores.
    """
    module = CODE_FILE.removesuffix(".py")
    return {
        "model_type": "audiomamba",
        "architectures": ["AudioMambaModel"],
        "auto_map": {auto: f"{module}.{name}" for auto, name in CLASSES.items()},
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": "multi_label_classification",
        "dtype": "float32",
    }


def preprocessor(front_end: FrontEnd) -> Mapping[str, Any]:
    """What preprocessor_config.json says: sound at the model's rate, padded by zeros at its end.

    Args:
        front_end: how the model's input is made, which the model does itself.

    Returns:
        Values by key.
    """
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": front_end.sample_rate,
        "padding_value": 0.0,
        "padding_side": "right",
        "do_normalize": False,
        "return_attention_mask": True,
    }
