"""AuM and what its weights are made from."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from audiomamba import checkpoints
from audiomamba.checkpoints.from_aum import ORIGIN, config_of
from audiomamba.models import AudioModel, SSMConfig
from checks.closeness import OUTPUT, close, close_gradients


def aum_fields(args: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of AuMConfig that shapes do not tell, from the arguments of the authors' class."""
    size = args["spectrogram_size"]
    fields: dict[str, Any] = {
        "n_mels": size[0],
        "n_frames": size[1],
        "token_order": "time" if args.get("transpose_token_sequence") else "frequency",
        "pool": {"mean": "mean", "max": "max", "none": "last"}[args.get("final_pool_type", "mean")],
    }
    if "strides" in args:
        fields["stride"] = pair(args["strides"])
    if not args.get("if_cls_token", True):
        fields["class_token"] = "none"
    elif args.get("use_double_cls_token"):
        fields["class_token"] = "double"
    elif not args.get("use_middle_cls_token", True):
        fields["class_token"] = "end" if args.get("use_end_cls_token") else "head"
    return fields


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def build(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> AudioModel:
    fields = aum_fields(args)
    if not args.get("if_devide_out", True):
        model = ORIGIN.build(state, "golden", **fields)
        ssm = {**vars(model.config.ssm), "halve_sum": False}
        fields["ssm"] = SSMConfig(**ssm)
    return ORIGIN.build(state, "golden", **fields)


def aum(golden: Any) -> None:
    args = golden.args["args"]
    model = build(golden.below("state"), args)
    if "src_args" in args:
        transfer(golden, model)
    forward = {
        {"patch_size": "patch", "strides": "stride"}[name]: pair(value)
        for name, value in golden.args["forward"].items()
    }
    layers: list[tuple[Tensor, Tensor]] = []
    sequence: list[Tensor] = []
    model.layers[0].register_forward_pre_hook(lambda _module, inputs: sequence.append(inputs[0]))
    for layer in model.layers:
        layer.register_forward_hook(lambda _module, _inputs, outputs: layers.append(outputs))
    x = golden.tensors["input"].clone().requires_grad_()
    logits = model(x, **forward)
    close(logits, golden.tensors["output"], OUTPUT, "logits")
    for index, outputs in enumerate(layers):
        for name, value in zip(("hidden", "residual"), outputs, strict=True):
            expected = golden.tensors.get(f"layer/{index}/{name}")
            if expected is not None:
                close(value, expected, OUTPUT, f"{name} of layer {index}")
    if "tokens" in golden.tensors:
        close(sequence[0], golden.tensors["tokens"], OUTPUT, "tokens before the first layer")
    features = golden.tensors["features"]
    if features.ndim == 3:
        close(model.tokens(x, **forward), features, OUTPUT, "features")
    elif not forward:
        close(model.embed(x), features, OUTPUT, "features")
    if "probe" in golden.tensors:
        (logits * golden.tensors["probe"]).sum().backward()
        close_gradients({"input": golden.tensors["grad_input"]}, {"input": x})


def transfer(golden: Any, model: AudioModel) -> None:
    """Transfer the source's weights into a fresh model: it becomes the given one but for a head."""
    args = golden.args["args"]
    source = golden.below("pretrain_state")
    fresh = model.config.build()
    if args.get("imagenet_pretrain"):
        report = checkpoints.aum_from_vim(fresh, source)
        assert report.fresh == ("head.weight", "head.bias")
    else:
        renamed = ORIGIN.rename(source)
        settings = config_of(renamed, **aum_fields(args["src_args"]))
        report = checkpoints.aum_from_aum(fresh, renamed, settings)
    state = fresh.state_dict()
    for key, expected in model.state_dict().items():
        if key not in report.fresh:
            close(state[key], expected, OUTPUT, key)


CHECKS = {"AuM AudioMamba": aum}
