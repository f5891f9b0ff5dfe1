"""The front ends and the metrics."""

from typing import Any

import pytest
import torch

from audiomamba import audio, metrics
from checks.closeness import OUTPUT, close


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


CHECKS = {"kaldi fbank (AST/AuM)": fbank, "metrics": metric_values}
