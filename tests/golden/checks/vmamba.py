"""VMamba, SS2D and its op, and the hierarchical Audio Mamba made of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from audiomamba import ops
from audiomamba.audio import log_mel_spectrogram
from audiomamba.checkpoints.from_vmamba import ORIGIN, ORIGIN_JANUARY_2024, rename, stages_of
from audiomamba.checkpoints.state import build
from audiomamba.models import AudioMambaConfig, SS2DConfig, VMambaConfig
from audiomamba.models.layers.ss2d import SS2D
from checks.closeness import OUTPUT, close, close_gradients, with_gradients
from checks.mel_image import decibel_front_end, step_scores, stored_filters


def cross_scan(golden: Any) -> None:
    inputs = with_gradients(golden.below("input"))
    rows, columns = inputs["x"].shape[2:]
    scanned = ops.cross_scan(inputs["x"].permute(0, 2, 3, 1)).permute(0, 2, 3, 1)
    close(scanned, golden.tensors["output"], OUTPUT, "scanned")
    merged = ops.cross_merge(inputs["y"].flatten(3).permute(0, 3, 1, 2), rows, columns)
    close(merged.flatten(1, 2).transpose(1, 2), golden.tensors["merged"], OUTPUT, "merged")


def ss2d(golden: Any) -> None:
    args, state = golden.args["args"], golden.below("state")
    d_inner = state["A_logs"].shape[0] // 4
    dim = state["out_proj.weight"].shape[0]
    config = SS2DConfig(
        d_state=state["A_logs"].shape[1],
        ratio=d_inner / dim,
        dt_rank=state["dt_projs_weight"].shape[2],
        gate=state["in_proj.weight"].shape[0] == 2 * d_inner,
        d_conv=state["conv2d.weight"].shape[2] if "conv2d.weight" in state else 1,
        conv_bias="conv2d.bias" in state,
    )
    model = SS2D(dim, config)
    model.load_state_dict(state)
    x = golden.tensors["input"].clone().requires_grad_()
    channels_first = args.get("channel_first", False)
    out = model(x.permute(0, 2, 3, 1) if channels_first else x)
    out = out.permute(0, 3, 1, 2) if channels_first else out
    close(out, golden.tensors["output"], OUTPUT, "output")
    (out * golden.tensors["probe"]).sum().backward()
    close_gradients(golden.below("grad"), dict(model.named_parameters()) | {"input": x})


def activations(config: VMambaConfig, args: Mapping[str, Any]) -> dict[str, Any]:
    """The nested settings with the activations that shapes do not tell."""
    ss2d = replace(config.ss2d, activation=args.get("ssm_act_layer", "silu"))
    mlp = config.mlp and replace(config.mlp, activation=args.get("mlp_act_layer", "gelu"))
    return {"ss2d": ss2d, "mlp": mlp}


def record(found: dict[str, Tensor], name: str, module: nn.Module) -> None:
    """Keep what a module gives; of one that also counts columns, the map."""
    module.register_forward_hook(
        lambda _module, _inputs, output: found.update(
            {name: output[0] if isinstance(output, tuple) else output}
        )
    )


def record_stages(found: dict[str, Tensor], model: Any) -> None:
    record(found, "patch_embed", model.patch_embed)
    for index, stage in enumerate(model.layers):
        stage.register_forward_hook(
            lambda _module, _inputs, outputs, name=f"stage{index}": found.update({name: outputs[1]})
        )


def vmamba(golden: Any) -> None:
    args, state = golden.args["args"], golden.below("state")
    x = golden.tensors["input"].clone().requires_grad_()
    known = {"n_mels": x.shape[2], "n_frames": x.shape[3]}
    origin = ORIGIN_JANUARY_2024 if "patch_embed.proj.weight" in state else ORIGIN
    nested = activations(origin.config_of(rename(state), **known), args)
    model = origin.build(state, "golden", **known, **nested)
    found: dict[str, Tensor] = {}
    record_stages(found, model)
    logits = model(x[:, 0].transpose(1, 2) if x.shape[1] == 1 else x)
    close(logits, golden.tensors["output"], OUTPUT, "logits")
    channels_first = args.get("norm_layer", "ln") == "ln2d"
    expected = golden.below("features")
    assert set(expected) == set(found)
    for name, value in expected.items():
        close(found[name], value.permute(0, 2, 3, 1) if channels_first else value, OUTPUT, name)
    (logits * golden.tensors["probe"]).sum().backward()
    gradients = rename(golden.below("grad")) | {"input": golden.tensors["grad_input"]}
    close_gradients(gradients, dict(model.named_parameters()) | {"input": x})


def audiomamba_state(state: Mapping[str, Tensor], unused: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of the composed model by the keys that they have here."""
    named = {
        key.removeprefix("backbone.").replace("tscam_conv.", "head.conv."): value
        for key, value in state.items()
        if not key.startswith(unused)
    }
    return rename(named) | {"bn0.num_batches_tracked": torch.tensor(0)}


def audiomamba(golden: Any) -> None:
    config, args, state = golden.args["config"], golden.args, golden.below("state")
    bands_hz = (config["fmin"], config["fmax"])
    sizes = (config["window_size"], config["hop_size"], config["mel_bins"])
    front_end = decibel_front_end(config["sample_rate"], *sizes, bands_hz)
    stored_filters(front_end, state["logmel_extractor.melW"])
    features = log_mel_spectrogram(golden.tensors["input"], front_end)
    scores_steps = config["enable_tscam"]
    extractors = ("logmel_extractor.", "spectrogram_extractor.")
    own = audiomamba_state(state, (*extractors, "head.") if scores_steps else extractors)
    averages_logits = scores_steps and config["loss_type"] == "clip_ce"
    settings = AudioMambaConfig(
        n_classes=args["num_classes"],
        n_mels=config["mel_bins"],
        n_frames=features.shape[1],
        image_size=args["spec_size"],
        head="token-semantic" if scores_steps else "linear",
        crop_average="logits" if averages_logits else "probabilities",
        **stages_of(own),
    )
    model = build(settings, own, "golden")
    found: dict[str, Tensor] = {}
    record_stages(found, model)
    model.patch_embed.register_forward_pre_hook(lambda _, inputs: found.update(img=inputs[0]))
    logits = model(features)
    scores = logits if averages_logits else logits.sigmoid()
    close(scores, golden.tensors["output"], OUTPUT, "clip scores")
    for name, expected in golden.below("features").items():
        close(found[name].reshape(expected.shape), expected, OUTPUT, name)
    close(model.embed(features), golden.tensors["output/latent_output"], OUTPUT, "embedding")
    expected = golden.tensors["output/framewise_output"]
    close(step_scores(model, features, expected.shape[1]), expected, OUTPUT, "step scores")


CHECKS = {
    "COMPOSED: HTS-AT pipeline + VMamba HEAD VSSM backbone": audiomamba,
    "SS2D 2024-01-28": ss2d,
    "SS2D HEAD": ss2d,
    "VMamba 2024-01-28 VSSM (vanilla)": vmamba,
    "VMamba HEAD VSSM": vmamba,
    "cross_scan/cross_merge": cross_scan,
}
