"""AST, in the forms of the AuM paper and of its own."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from audiomamba import checkpoints
from audiomamba.checkpoints.from_ast import ORIGIN, config_of, rename
from audiomamba.models import AudioModel
from checks.closeness import OUTPUT, close, close_gradients


def build(state: Mapping[str, Tensor], golden: Any) -> AudioModel:
    args, vit = golden.args["args"], golden.args["vit"]
    used, _ = ORIGIN.split(state)
    return ORIGIN.build(
        used,
        "golden",
        n_mels=args.get("input_fdim", 128),
        n_frames=args.get("input_tdim", 1024),
        stride=(args.get("fstride", 10), args.get("tstride", 10)),
        n_heads=vit["num_heads"],
    )


def ast(golden: Any) -> None:
    model = build(golden.below("state"), golden)
    if golden.below("pretrain_state"):
        transfer(golden, model)
    blocks: list[Tensor] = []
    sequence: list[Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _module, inputs: sequence.append(inputs[0]))
    for block in model.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: blocks.append(output))
    x = golden.tensors["input"].clone().requires_grad_()
    logits = model(x)
    close(logits, golden.tensors["output"], OUTPUT, "logits")
    for name, expected in golden.below("features").items():
        close(blocks[int(name.removeprefix("block"))], expected, OUTPUT, name)
    if "tokens" in golden.tensors:
        close(sequence[0], golden.tensors["tokens"], OUTPUT, "tokens before the first block")
    (logits * golden.tensors["probe"]).sum().backward()
    expected = rename(golden.below("grad")) | {"input": golden.tensors["grad_input"]}
    close_gradients(expected, dict(model.named_parameters()) | {"input": x})


def transfer(golden: Any, model: AudioModel) -> None:
    """Transfer the source's weights into a fresh model: it becomes the given but for the head."""
    args = golden.args["args"]
    fresh = model.config.build()
    source, _ = ORIGIN.split(golden.below("pretrain_state"))
    if args.get("ast_pretrain"):
        source = rename(source)
        settings = config_of(
            source,
            n_mels=args.get("ast_input_fdim", 128),
            n_frames=args.get("ast_input_tdim", 1024),
            stride=(args.get("ast_fstride", 16), args.get("ast_tstride", 16)),
            n_heads=golden.args["vit"]["num_heads"],
        )
        checkpoints.ast_from_ast(fresh, source, settings)
    else:
        report = checkpoints.ast_from_deit(fresh, source)
        assert set(report.fresh) == {key for key in fresh.state_dict() if key.startswith("head")}
    state = fresh.state_dict()
    for key, expected in model.state_dict().items():
        if not key.startswith("head"):
            close(state[key], expected, OUTPUT, key)


CHECKS = {"AST AuM repo (timm 0.4.12)": ast, "AST YuanGongND/ast (timm 0.4.5)": ast}
