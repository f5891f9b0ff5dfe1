"""HTS-AT, CNN14, and the front end and the image that they read."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audiomamba import audio
from audiomamba.audio.log_mel import mel_filters, power_spectrogram
from audiomamba.checkpoints import from_htsat, from_panns
from audiomamba.models.layers.mel_image import fold_time
from checks.closeness import OUTPUT, close


def decibel_front_end(
    sample_rate: int, window: int, hop: int, n_mels: int, band_hz: tuple[float, float]
) -> audio.FrontEnd:
    return audio.FrontEnd(
        kind="decibel",
        sample_rate=sample_rate,
        n_mels=n_mels,
        frame_length_ms=1000 * window / sample_rate,
        frame_shift_ms=1000 * hop / sample_rate,
        low_hz=band_hz[0],
        high_hz=band_hz[1],
        mean=None,
        std=None,
    )


def stored_filters(front_end: audio.FrontEnd, stored: Tensor) -> None:
    """Hold the mel bands against those that the authors' files carry."""
    close(mel_filters(front_end, torch.device("cpu"), torch.float32), stored, OUTPUT, "mel bands")


def front_end(golden: Any) -> None:
    args = golden.args
    settings = decibel_front_end(
        args["sr"], args["n_fft"], args["hop"], args["n_mels"], (args["fmin"], args["fmax"])
    )
    stored_filters(settings, golden.tensors["melW"])
    log_mel = audio.log_mel_spectrogram(golden.tensors["input"], settings)
    close(log_mel[:, None], golden.tensors["output"], OUTPUT, "log-mel")


def fold(golden: Any) -> None:
    args, features = golden.args, golden.tensors["input"][:, 0]
    image = fold_time(features, args["spec_size"], args["freq_ratio"])
    close(image, golden.tensors["output"], OUTPUT, "image")


def htsat_fields(args: Mapping[str, Any], n_frames: int) -> dict[str, Any]:
    """The fields of HTSATConfig that shapes do not tell."""
    given, config = args["args"], args["config"]
    averaged = "logits" if config["loss_type"] == "clip_ce" else "probabilities"
    return {
        "n_frames": n_frames,
        "image_size": given["spec_size"],
        "stride": tuple(given["patch_stride"]),
        "window": given["window_size"],
        "crop_average": averaged if config["enable_tscam"] else "probabilities",
        "short_clips": "repeat" if args["forward"].get("infer_mode") else "stretch",
    }


def htsat(golden: Any) -> None:
    config, state = golden.args["config"], golden.below("state")
    settings = decibel_front_end(
        config["sample_rate"],
        config["window_size"],
        config["hop_size"],
        config["mel_bins"],
        (config["fmin"], config["fmax"]),
    )
    stored_filters(settings, state[from_htsat.MEL_BANDS])
    features = audio.log_mel_spectrogram(golden.tensors["input"], settings)
    origin = from_htsat.ORIGIN if config["enable_tscam"] else from_htsat.ORIGIN_LINEAR
    used, _ = origin.split(state)
    known = htsat_fields(golden.args, features.shape[1])
    model = from_htsat.ORIGIN.build(used, "golden", **known)

    power = power_spectrogram(golden.tensors["input"], settings)
    found = {"logmel": features[:, None], "spectrogram": power[:, None]}
    model.bn0.register_forward_hook(lambda _, __, out: found.update(bn0_BFT1=out[..., None]))
    model.patch_embed.register_forward_pre_hook(lambda _, inputs: found.update(img=inputs[0]))
    for index, layer in enumerate(model.layers):
        layer.register_forward_hook(
            lambda _, __, out, name=f"layer{index}": found.update({name: out[1].flatten(1, 2)})
        )
    with torch.no_grad():
        logits = model(features)
        is_logit = config["enable_tscam"] and config["loss_type"] == "clip_ce"
        scores = logits if is_logit else logits.sigmoid()
        close(scores, golden.tensors["output"], OUTPUT, "clip scores")
        for name, expected in golden.below("features").items():
            close(found[name], expected, OUTPUT, name)
        if "output/latent_output" in golden.tensors:
            close(model.embed(features), golden.tensors["output/latent_output"], OUTPUT, "latent")
        expected = golden.tensors["output/framewise_output"]
        close(step_scores(model, features, expected.shape[1]), expected, OUTPUT, "step scores")


def step_scores(model: Any, features: Tensor, n_frames: int) -> Tensor:
    """Scores per frame as the authors give them: of a long clip the mean over its crops."""
    crops, n_steps = [features], features.shape[1] - 1
    if features.shape[1] > model.config.most_frames:
        length, starts = n_steps // 2, range(0, n_steps - n_steps // 2, n_steps // 4)
        crops = [features[:, start : start + length] for start in starts]
    scores = torch.stack([summed_logits(model, crop).sigmoid() for crop in crops]).mean(dim=0)
    return scores.repeat_interleave(n_frames // scores.shape[1], dim=1)


def summed_logits(model: Any, features: Tensor) -> Tensor:
    """Logits per step; with a linear head the authors add up the bins of frequency, not average."""
    logits: Tensor = model.frame_logits(features)
    if model.config.head != "linear":
        return logits
    n_bins = model.tokens(features).shape[1] // logits.shape[1]
    return n_bins * (logits - model.head.bias) + model.head.bias


def cnn14(golden: Any) -> None:
    args, state = golden.args, golden.below("state")
    settings = decibel_front_end(
        args["sr"], args["window"], args["hop"], args["mel"], (args["fmin"], args["fmax"])
    )
    stored_filters(settings, state[from_panns.MEL_BANDS])
    features = audio.log_mel_spectrogram(golden.tensors["input"], settings)
    close(features[:, None], golden.tensors["features/logmel"], OUTPUT, "log-mel")
    used, _ = from_panns.ORIGIN.split(state)
    fields = from_panns.fields_of_name(golden.kind)
    if (
        fields["pool"] == "segments"
    ):  # that class in HTS-AT's copy of PANNs leaves the last frame out
        features = features[:, :-1]
    model = from_panns.ORIGIN.build(used, "golden", n_frames=features.shape[1], **fields)
    with torch.no_grad():
        close(model(features).sigmoid(), golden.tensors["output"], OUTPUT, "scores")
        if fields["pool"] == "clip":
            close(model.embed(features), golden.tensors["output/embedding"], OUTPUT, "embedding")
            return
        steps = model.frame_logits(features).sigmoid().repeat_interleave(32, dim=1)
        expected = golden.tensors["output/framewise_every8"]
        close(steps[:, ::8], expected[:, : steps.shape[1] // 8], OUTPUT, "steps")


CHECKS = {
    "HTSAT_Swin_Transformer": htsat,
    "PANNs Cnn14": cnn14,
    "PANNs Cnn14_DecisionLevelMax": cnn14,
    "htsat": front_end,
    "reshape_wav2img": fold,
}
