"""Every entry of the registry: its importer reads a file with the released keys and shapes."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import test_from_ast
import test_from_efficientat
import test_from_htsat
import test_from_mambaout
import test_from_panns
import test_from_vmamba
import torch
from safetensors.torch import save_file
from torch import Tensor

from audiomamba import checkpoints, models
from audiomamba.checkpoints.state import check_state
from audiomamba.hub import RELEASED, Released

State = Mapping[str, Tensor]


def ssamba(model: models.AudioModel) -> State:
    """Tensors as SSAMBA's authors keep them, with those of the two objectives."""
    state = {f"v.{key}": value for key, value in model.state_dict().items()}
    dim = state["v.norm_f.weight"].shape[0]
    for objective in ("c", "g"):
        for index, width in ((0, dim), (2, 256)):
            state[f"{objective}predlayer.{index}.weight"] = torch.empty(width, dim)
            state[f"{objective}predlayer.{index}.bias"] = torch.empty(width)
    sizes = {"p_input_fdim": torch.empty(()), "p_input_tdim": torch.empty(())}
    return state | sizes | {"mask_embed": torch.empty(1, 1, dim)}


# What the files hold, by their origin, made from a model's own tensors.
FORMS: dict[str, Callable[[models.AudioModel], State]] = {
    "AST (Hugging Face)": lambda model: test_from_ast.hugging_face(model.state_dict()),
    "AuM": lambda model: {
        {"pos_embed": "pos_embed.pos_embed"}.get(key, key): value
        for key, value in model.state_dict().items()
    },
    "DASS (transformers)": lambda model: test_from_vmamba.released(
        model, test_from_vmamba.TRANSFORMERS
    ),
    "EfficientAT": test_from_efficientat.released,
    "EfficientAT (fully convolutional)": test_from_efficientat.released,
    "HTS-AT": test_from_htsat.released,
    "MambaOut (timm)": lambda model: test_from_mambaout.as_timm(model.state_dict()),
    "PANNs CNN14": test_from_panns.released,
    "SSAMBA": ssamba,
    "Vision Mamba": lambda model: model.state_dict(),
}
CLASSES = {"epic_sounds": 44, "speech_commands": 35, "vggsound": 309, "voxceleb1": 1251}
STRIDES = {"stride8": (8, 8), "stride12": (12, 12), "stride14": (14, 14), "stride16": (16, 16)}
SMALL = ("mn04_audioset", "vim_tiny_imagenet", "mambaout_femto_imagenet")


def model_of(record: Released) -> models.AudioModel:
    """The model of an entry, without memory."""
    config = models.MODELS[record.model]
    if record.corpus in CLASSES:
        config = config.changed(n_classes=CLASSES[record.corpus])
    if record.corpus == "speech_commands":
        config = config.changed(n_frames=128)
    if record.origin == "SSAMBA":
        config = config.changed(n_channels=1, n_mels=128, n_frames=1024, class_token="head")
    if record.direction is not None:
        config = config.changed(direction=record.direction)
    for word, stride in STRIDES.items():
        if f"_{word}_" in record.name:
            config = config.changed(stride=stride)
    if record.name == "cnn14_segments_audioset":
        config = config.changed(pool="segments")
    with torch.device("meta"):
        return config.build()


@pytest.mark.parametrize("record", [pytest.param(it, id=it.name) for it in RELEASED])
def test_an_importer_reads_the_released_keys_and_shapes(record: Released) -> None:
    model = model_of(record)
    with torch.device("meta"):
        state = FORMS[record.origin](model)
    file = record.files[0] if record.files else "file.pth"

    found = [origin for origin in checkpoints.ORIGINS if origin.recognises(state)]
    origin = max(found, key=lambda it: len(it.marks))
    used, _ = origin.split(state)
    renamed = origin.rename(used)
    config = origin.config_of(renamed, **origin.fields_of_name(file))

    assert origin.name == record.origin
    with torch.device("meta"):
        read = config.build()
    check_state(read, origin.without_computed(renamed, config), file)
    assert {**config.__dict__, "drop_path": 0} == {**model.config.__dict__, "drop_path": 0}
    assert record.corpus == "imagenet" or origin.front_end is not None


@pytest.mark.parametrize("name", SMALL)
def test_a_file_of_released_size_becomes_a_model(name: str, tmp_path: Path) -> None:
    record = next(it for it in RELEASED if it.name == name)
    torch.manual_seed(0)
    model = models.MODELS[record.model].build()
    file = tmp_path / record.files[0]
    state = {key: value.contiguous() for key, value in FORMS[record.origin](model).items()}
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"model": state, "args": argparse_settings()}, file)

    found = checkpoints.load(checkpoints.find(file))

    assert found.model.state_dict().keys() == model.state_dict().keys()
    for key, value in found.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])


def argparse_settings() -> Namespace:
    """Settings as the trainers of Vim and EfficientAT keep them beside the weights."""
    return Namespace(lr=1e-3, model="vim", data=Path("imagenet").as_posix())
