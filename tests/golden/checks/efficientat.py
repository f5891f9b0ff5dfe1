"""EfficientAT and its front end."""

from typing import Any

import torch
from torch import Tensor, nn

from audiomamba import audio
from audiomamba.audio.log_mel import mel_filters
from audiomamba.checkpoints.from_efficientat import FRONT_END, ORIGIN, rename
from checks.closeness import OUTPUT, close, close_gradients
from checks.mambaout import record


def front_end(golden: Any) -> None:
    args = golden.args
    settings = audio.FrontEnd(
        kind="efficientat",
        sample_rate=args["sr"],
        n_mels=args["n_mels"],
        frame_length_ms=1000 * args["win"] / args["sr"],
        frame_shift_ms=1000 * args["hop"] / args["sr"],
        low_hz=args["fmin"],
        high_hz=args["fmax"],
        n_frames=FRONT_END.n_frames,
        mean=FRONT_END.mean,
        std=FRONT_END.std,
    )
    assert settings == FRONT_END
    filters = mel_filters(settings, torch.device("cpu"), torch.float32)
    close(filters.T, golden.tensors["melW"], OUTPUT, "mel bands")
    log_mel = audio.log_mel_spectrogram(golden.tensors["input"], settings)
    features = audio.normalize(log_mel, settings)
    close(features.transpose(1, 2), golden.tensors["output"], OUTPUT, "features")


def efficientat(golden: Any) -> None:
    args, state = golden.args, golden.below("state")
    x = golden.tensors["input"].clone().requires_grad_()
    model = ORIGIN.build(state, "golden", strides=tuple(args.get("strides", (2, 2, 2, 2))))
    assert model.config.width == args["width_mult"]
    found: dict[str, Tensor] = {}
    layers: list[nn.Module] = [model.stem, *model.blocks, model.last]
    for index, layer in enumerate(layers):
        record(found, f"block{index}", layer)
    features = x[:, 0].transpose(1, 2)
    logits = model(features)
    close(logits, golden.tensors["output"], OUTPUT, "logits")
    close(model.embed(features), golden.tensors["output/embedding"], OUTPUT, "embedding")
    maps = golden.below("features")
    assert len(maps) == 5
    for name, expected in maps.items():
        close(found[name], expected, OUTPUT, name)
    (logits * golden.tensors["probe"]).sum().backward()
    names = rename({key: torch.empty(0) for key in state})
    ours = dict(zip(state, names, strict=True))
    gradients = {ours[key]: value for key, value in golden.below("grad").items()}
    close_gradients(
        gradients | {"input": golden.tensors["grad_input"]},
        dict(model.named_parameters()) | {"input": x},
    )


CHECKS = {"EfficientAT MN": efficientat, "efficientat": front_end}
