"""Causal against fully visible token mixing, as in MambaOut's Figure 3, at a small size.

    python benchmarks/token_mixing.py --data CIFAR --out benchmarks/results/token_mixing.json

A small vision transformer learns to classify small images twice: each token attends to all tokens,
or to those before it only. All else is the same: weights at the beginning, images, steps. Tokens
are averaged for the result, so that in causal mode too the last ones have seen the whole image.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from audiomamba import models
from audiomamba.models.layers.attention import Attention
from audiomamba.vision.data.dataset import ImageSet
from audiomamba.vision.data.images import normed
from audiomamba.vision.data.layouts import read_class_folders

SIDE, PATCH, DIM, DEPTH, N_HEADS = 32, (4, 4), 96, 4, 4
BATCH, RATE, WARMUP, WEIGHT_DECAY = 64, 1e-3, 50, 0.05
PAD = 4  # pixels by which an image may be shifted


class CausalAttention(Attention):
    """Attention to the tokens before, and to itself."""

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:  # noqa: ARG002
        query, key, value = self.qkv(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Classifier(nn.Module):
    """A vision transformer whose patches are averaged."""

    def __init__(self, mode: str, n_classes: int) -> None:
        super().__init__()
        self.body = models.create(
            "deit_tiny",
            n_mels=SIDE,
            n_frames=SIDE,
            patch=PATCH,
            stride=PATCH,
            dim=DIM,
            depth=DEPTH,
            n_heads=N_HEADS,
        )
        self.classify = nn.Linear(DIM, n_classes)
        if mode == "causal":
            for block in self.body.blocks:
                block.attn.__class__ = CausalAttention

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.body.tokens(images)[:, self.body.config.n_class_tokens :]
        logits: Tensor = self.classify(tokens.mean(dim=1))
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="train/ and val/, of 32 by 32")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    training, held_out = (stack(read_class_folders(given.data / n)) for n in ("train", "val"))
    found: dict[str, list[float]] = {"fully visible": [], "causal": []}
    began = time.process_time()
    for seed in range(given.seeds):
        for mode, results in found.items():
            results.append(accuracy(mode, training, held_out, given.steps, seed))
            print(f"seed {seed}, {mode}: {results[-1]:.3f}")
    settings = {
        "images": {"training": len(training[1]), "held_out": len(held_out[1])},
        "steps": given.steps,
        "accuracy": found,
        "mean": {mode: statistics.mean(results) for mode, results in found.items()},
        "cpu_s": round(time.process_time() - began),
    }
    given.out.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def stack(images: ImageSet) -> tuple[Tensor, Tensor]:
    """All images, normed, and their classes."""
    pairs = [images[index] for index in range(len(images))]
    return normed(torch.stack([image for image, _ in pairs])), torch.tensor([c for _, c in pairs])


def accuracy(
    mode: str,
    training: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    n_steps: int,
    seed: int,
) -> float:
    """Train in one mode, and score."""
    torch.manual_seed(seed)
    model = Classifier(mode, n_classes=int(training[1].max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP, 1) * (1 - step / n_steps)
    )
    for images, classes in batches(*training, n_steps, seed):
        F.cross_entropy(model(images), classes).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    with torch.inference_mode():
        found = torch.cat([model.eval()(part).argmax(dim=1) for part in held_out[0].split(250)])
    return (found == held_out[1]).float().mean().item()


def batches(
    images: Tensor, classes: Tensor, n_steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Random images, each batch shifted and mirrored by chance."""
    rng = Generator().manual_seed(seed)
    for _ in range(n_steps):
        chosen = torch.randint(len(images), (BATCH,), generator=rng)
        down, across = torch.randint(2 * PAD + 1, (2,), generator=rng).tolist()
        part = F.pad(images[chosen], (PAD,) * 4)[..., down : down + SIDE, across : across + SIDE]
        if torch.rand((), generator=rng) < 0.5:
            part = part.flip(3)
        yield part, classes[chosen]


if __name__ == "__main__":
    main()
