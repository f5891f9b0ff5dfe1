"""MambaOut and its block."""

from typing import Any

from torch import Tensor, nn

from audiomamba.checkpoints.from_mambaout import ORIGIN
from audiomamba.models.mambaout import GatedCNNBlock
from checks.closeness import OUTPUT, close, close_gradients


def record(found: dict[str, Tensor], name: str, module: nn.Module) -> None:
    """Keep what a module gives; of one that also counts columns, the map."""
    module.register_forward_hook(
        lambda _module, _inputs, output: found.update(
            {name: output[0] if isinstance(output, tuple) else output}
        )
    )


def mambaout(golden: Any) -> None:
    x = golden.tensors["input"].clone().requires_grad_()
    sound = x.shape[1] == 1
    known = {"n_mels": x.shape[2], "n_frames": x.shape[3]}
    model = ORIGIN.build(golden.below("state"), "golden", **known)
    found: dict[str, Tensor] = {}
    record(found, "pooled", model.norm)
    for index, layer in enumerate(model.downsample_layers):
        record(found, f"down{index}", layer)
    features = x[:, 0].transpose(1, 2) if sound else x
    logits = model(features)
    for index, stage in enumerate(model.forward_intermediates(features)):
        found[f"stage{index}"] = stage.map.permute(0, 2, 3, 1)
        assert stage.map.shape[2] * stage.stride == x.shape[2]
    close(logits, golden.tensors["output"], OUTPUT, "logits")
    for name, expected in golden.below("features").items():
        close(found[name], expected, OUTPUT, name)
    (logits * golden.tensors["probe"]).sum().backward()
    gradients = golden.below("grad") | {"input": golden.tensors["grad_input"]}
    close_gradients(gradients, dict(model.named_parameters()) | {"input": x})


def gated_cnn_block(golden: Any) -> None:
    args = {"expansion_ratio": 8 / 3, "conv_ratio": 1.0, "kernel_size": 7} | golden.args["args"]
    block = GatedCNNBlock(
        args["dim"],
        expand_ratio=args["expansion_ratio"],
        conv_ratio=args["conv_ratio"],
        kernel=args["kernel_size"],
        drop_path=0.0,
    )
    block.load_state_dict(golden.below("state"))
    x = golden.tensors["input"].clone().requires_grad_()
    out = block(x)
    close(out, golden.tensors["output"], OUTPUT, "output")
    (out * golden.tensors["probe"]).sum().backward()
    close_gradients(golden.below("grad"), dict(block.named_parameters()) | {"input": x})


CHECKS = {"GatedCNNBlock": gated_cnn_block, "MambaOut": mambaout}
