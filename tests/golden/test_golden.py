"""The package against the authors' own code: same weights and input, same output and gradients."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from audiomamba import audio, checkpoints, metrics, ops
from audiomamba.checkpoints.from_aum import build_aum, config_of, rename
from audiomamba.models import AuM, SSMConfig
from audiomamba.models.mamba import MambaMixer

OUTPUT, GRADIENT = 1e-4, 1e-3
DIRECTIONS = {"none": "fo-fo", "v1": "fo-bi", "v2": "bi-bi"}

# Kinds whose model is not built yet. The list only ever shrinks.
NOT_BUILT = (
    "AST AuM repo (timm 0.4.12)",
    "AST YuanGongND/ast (timm 0.4.5)",
    "COMPOSED: HTS-AT pipeline + VMamba HEAD VSSM backbone",
    "GatedCNNBlock",
    "HTSAT_Swin_Transformer",
    "MambaOut",
    "PANNs Cnn14",
    "SS2D 2024-01-28",
    "SS2D HEAD",
    "VMamba 2024-01-28 VSSM (vanilla)",
    "VMamba HEAD VSSM",
    "Vim VisionMamba",
    "cross_scan/cross_merge",
    "htsat",
    "reshape_wav2img",
)


def test_golden(golden: Any) -> None:
    if golden.kind in NOT_BUILT:
        pytest.skip(f"not built yet: {golden.kind}")
    CHECKS[golden.kind](golden)


def close(got: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Hold the largest error, relative to the largest expected value, against a tolerance."""
    assert got.shape == expected.shape, f"{what}: {tuple(got.shape)} {tuple(expected.shape)}"
    error = (got.detach() - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
    assert error <= tolerance, f"{what} is off by {error:.2e} of its largest value"


def with_gradients(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_() for name, value in inputs.items()}


def close_gradients(expected: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> None:
    assert expected
    for name, gradient in expected.items():
        found = inputs[name].grad
        assert found is not None, name
        close(found, gradient, GRADIENT, f"gradient of {name}")


def channel_last(x: Tensor) -> Tensor:
    """(batch, [groups,] channels, tokens) with tokens moved behind the batch; the rest as it is."""
    return x.movedim(-1, 1) if x.ndim > 2 else x


def selective_scan(golden: Any) -> None:
    inputs = with_gradients(golden.below("input"))
    out, last_state = ops.selective_scan(
        *(channel_last(inputs[name]) for name in ("u", "delta")),
        inputs["A"],
        *(channel_last(inputs[name]) for name in ("B", "C")),
        D=inputs.get("D"),
        z=channel_last(inputs["z"]) if "z" in inputs else None,
        delta_bias=inputs.get("delta_bias"),
        delta_softplus=golden.args["delta_softplus"],
        return_last_state=True,
    )
    out = out.movedim(1, -1)
    close(out, golden.tensors["output"], OUTPUT, "output")
    close(last_state, golden.tensors["last_state"], OUTPUT, "last state")
    (out * golden.tensors["probe"]).sum().backward()
    close_gradients(golden.below("grad"), inputs)


def causal_conv1d(golden: Any) -> None:
    inputs = with_gradients(golden.below("input"))
    out = ops.causal_conv1d(
        channel_last(inputs["x"]),
        inputs["weight"],
        inputs.get("bias"),
        activation=golden.args["activation"],
    ).movedim(1, -1)
    close(out, golden.tensors["output"], OUTPUT, "output")
    (out * golden.tensors["probe"]).sum().backward()
    close_gradients(golden.below("grad"), inputs)


def add_rms_norm(golden: Any) -> None:
    inputs = with_gradients(golden.below("input"))
    out, residual = ops.add_rms_norm(
        inputs["x"], inputs.get("residual"), inputs["weight"], eps=golden.args["eps"]
    )
    close(out, golden.tensors["output"], OUTPUT, "output")
    close(residual, golden.tensors["residual_out"], OUTPUT, "residual")
    probe = golden.tensors["probe"]
    ((out * probe).sum() + (residual * probe.flip(0)).sum()).backward()
    close_gradients(golden.below("grad"), inputs)


def mixer(golden: Any) -> None:
    args = golden.args
    state = golden.below("state")
    d_inner, d_state = state["A_log"].shape
    ssm = SSMConfig(
        d_state=d_state,
        d_conv=state["conv1d.weight"].shape[2],
        expand=d_inner // args["d_model"],
        dt_rank=state["dt_proj.weight"].shape[1],
        halve_sum=args["if_devide_out"],
    )
    model = MambaMixer(args["d_model"], DIRECTIONS[args["bimamba_type"]], ssm)
    model.load_state_dict(state)
    x = golden.tensors["input"].clone().requires_grad_()
    out = model(x)
    close(out, golden.tensors["output"], OUTPUT, "output")
    (out * golden.tensors["probe"]).sum().backward()
    close_gradients(golden.below("grad"), dict(model.named_parameters()) | {"input": x})


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


def build(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> AuM:
    fields = aum_fields(args)
    if not args.get("if_devide_out", True):
        model = build_aum(state, "golden", **fields)
        ssm = {**vars(model.config.ssm), "halve_sum": False}
        fields["ssm"] = SSMConfig(**ssm)
    return build_aum(state, "golden", **fields)


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


def transfer(golden: Any, model: AuM) -> None:
    """Transfer the source's weights into a fresh model: it becomes the given one but for a head."""
    args = golden.args["args"]
    source = golden.below("pretrain_state")
    fresh = model.config.build()
    if args.get("imagenet_pretrain"):
        report = checkpoints.aum_from_vim(fresh, source)
        assert report.fresh == ("head.weight", "head.bias")
    else:
        settings = config_of(source, **aum_fields(args["src_args"]))
        report = checkpoints.aum_from_aum(fresh, rename(source), settings)
    state = fresh.state_dict()
    for key, expected in model.state_dict().items():
        if key not in report.fresh:
            close(state[key], expected, OUTPUT, key)


def fbank(golden: Any) -> None:
    args = golden.args
    front_end = audio.FrontEnd(
        sample_rate=args["sr"],
        n_mels=args["num_mel_bins"],
        frame_shift_ms=args["frame_shift"],
        mean=args["mean"],
        std=args["std"],
        n_frames=args["target_length"] or golden.tensors["output"].shape[0],
    )
    waveform = golden.tensors["input"]
    log_mel = audio.kaldi_fbank(waveform - waveform.mean(), front_end)[0]
    close(log_mel, golden.tensors["fbank"], OUTPUT, "fbank")
    close(audio.features(waveform, front_end)[0], golden.tensors["output"], OUTPUT, "features")


def metric_values(golden: Any) -> None:
    inputs = golden.below("input")
    labels = [str(index) for index in range(inputs["pred"].shape[1])]
    found = metrics.compute(inputs["pred"].numpy(), inputs["target"].numpy(), labels)
    mean_ap, mean_auc, d_prime, _ = golden.tensors["output"].tolist()
    assert found.mean_average_precision == pytest.approx(mean_ap, rel=OUTPUT)
    assert found.mean_auc == pytest.approx(mean_auc, rel=OUTPUT)
    assert found.d_prime == pytest.approx(d_prime, rel=OUTPUT)
    per_class = [entry.average_precision for entry in found.classes]
    close(torch.tensor(per_class), golden.tensors["AP"].float(), OUTPUT, "AP")


CHECKS: dict[str, Callable[[Any], None]] = {
    "AuM AudioMamba": aum,
    "add_rmsnorm": add_rms_norm,
    "causal_conv1d": causal_conv1d,
    "kaldi fbank (AST/AuM)": fbank,
    "metrics": metric_values,
    "mixer": mixer,
    "selective_scan": selective_scan,
}
