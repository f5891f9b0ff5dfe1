"""Vision Mamba."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from audiomamba.checkpoints.from_vim import ORIGIN, config_of
from audiomamba.models import AudioModel, RotaryPositions
from checks.aum import pair
from checks.closeness import OUTPUT, close, close_gradients


def vim_fields(args: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of VimConfig that shapes do not tell, from the arguments of the authors' class."""
    height, width = pair(args["img_size"])
    fields: dict[str, Any] = {
        "n_mels": height,
        "n_frames": width,
        "stride": pair(args.get("stride", 16)),
        "pool": {"mean": "mean", "max": "max", "all": "all", "none": "last"}[
            args.get("final_pool_type", "none")
        ],
        "drop_path": args.get("drop_path_rate", 0.1),
    }
    if not args.get("if_cls_token", True):
        fields["class_token"] = "none"
    elif args.get("use_double_cls_token"):
        fields["class_token"] = "double"
    elif not args.get("use_middle_cls_token", True):
        fields["class_token"] = "head"
    return fields


def build(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> AudioModel:
    fields = vim_fields(args)
    found = config_of(state, **fields)
    if not args.get("if_divide_out", args.get("if_devide_out", True)):
        fields["ssm"] = replace(found.ssm, halve_sum=False)
    if isinstance(found.positions, RotaryPositions):
        assert found.positions.side == args.get("pt_hw_seq_len", 14)
        fields["positions"] = replace(
            found.positions, residual=bool(args.get("if_rope_residual", False))
        )
    return ORIGIN.build(state, "golden", **fields)


def vim(golden: Any) -> None:
    model = build(golden.below("state"), golden.args["args"])
    layers: list[tuple[Tensor, Tensor]] = []
    sequence: list[Tensor] = []
    model.layers[0].register_forward_pre_hook(lambda _module, inputs: sequence.append(inputs[0]))
    for layer in model.layers:
        layer.register_forward_hook(lambda _module, _inputs, outputs: layers.append(outputs))
    x = golden.tensors["input"].clone().requires_grad_()
    logits = model(x)
    close(logits, golden.tensors["output"], OUTPUT, "logits")
    for key, expected in golden.below("layer").items():
        index, name = key.split("/")
        found = layers[int(index)][("hidden", "residual").index(name)]
        close(found, expected, OUTPUT, f"{name} of layer {index}")
    if "tokens" in golden.tensors:
        close(sequence[0], golden.tensors["tokens"], OUTPUT, "tokens before the first layer")
    features = golden.tensors["features"]
    found = model.tokens(x) if features.ndim == 3 else model.embed(x)
    close(found, features, OUTPUT, "features")
    if "probe" in golden.tensors:
        (logits * golden.tensors["probe"]).sum().backward()
        inputs = dict(model.named_parameters()) | {"input": x}
        expected = golden.below("grad") | {"input": golden.tensors["grad_input"]}
        close_gradients(expected, inputs)


CHECKS = {"Vim VisionMamba": vim}
