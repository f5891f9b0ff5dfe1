"""What the recipes of HTS-AT and the hierarchical Audio Mamba have in common.

They follow HTS-AT's released code, and for the hierarchical Audio Mamba its settings file, the only
part of its code that was released; its paper says no more than "as HTS-AT". The settings file
doubles the learning rates of HTS-AT's schedule.

What is not followed: HTS-AT mixes pairs of spectrograms without mixing their labels, which here are
mixed along; it hides ranges behind the model's first norm with 0, here they get the spectrogram's
mean before it; it lets the rate rise again after 30 epochs, from 0.02 to 0.03 of its highest, and
so do these. HTS-AT starts from a Swin Transformer trained on ImageNet; here all start from scratch.

Source: Chen et al., "HTS-AT: A Hierarchical Token-Semantic Audio Transformer for Sound
Classification and Detection" (2022), released code; Lin and Hu, "Audio Mamba: Pretrained Audio
State Space Model for Audio Tagging" (2024), section 4, and released settings.
"""

from dataclasses import replace

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.augment import Augment
from audiomamba.recipes.schedule import Schedule
from audiomamba.recipes.schema import Recipe

__all__ = ["HTSAT_TINY", "hierarchical"]

N_RISING, N_WARM, LEAST_SHARE = 3, 30, 0.03


def shares(rates: tuple[float, float, float]) -> tuple[float, ...]:
    """Return the share of the learning rate in each epoch, until it stays the same.

    Args:
        rates: the shares of the first three epochs; they come back in the reverse order, until
            epoch 10, 20 and 30, counted from 0.

    Returns:
        One share per epoch.
    """
    falling = [rates[2 - max(0, epoch - 1) // 10] for epoch in range(N_RISING, N_WARM + 1)]
    return (*rates, *falling, LEAST_SHARE)


HTSAT_TINY = Recipe(
    name="audioset/htsat-tiny",
    corpus="audioset",
    model="htsat_tiny",
    front_end=FrontEnd(
        kind="decibel",
        sample_rate=32_000,
        n_mels=64,
        frame_length_ms=32.0,
        low_hz=50.0,
        high_hz=14_000.0,
        n_frames=1001,
        mean=None,
        std=None,
    ),
    measure_statistics=False,
    augment=Augment(
        short_clips="pad",
        mixup=1.0,
        mixup_of="features",
        mixup_alpha=0.5,
        n_mel_masks=2,
        mel_mask_bins=7,
        n_frame_masks=2,
        frame_mask_frames=63,
        mask_value="clip-mean",
    ),
    sampling="by-class",
    loss="bce",
    epochs=100,
    batch_size=128,
    learning_rate=1e-3,
    weight_decay=0.05,
    decayed="all",
    warmup_epochs=0,
    schedule=Schedule(kind="by-epoch", shares=shares((0.02, 0.05, 0.1))),
    clip_norm=1.0,
    precision="float16",
    best_by="mean_average_precision",
)


def hierarchical(base: Recipe) -> tuple[Recipe, ...]:
    """Make the recipes of the hierarchical Audio Mamba, in its three sizes, and of HTS-AT.

    Args:
        base: the settings of HTS-AT on a corpus; its name is the corpus's and "/htsat-tiny".

    Returns:
        One recipe for each model.
    """
    schedule = Schedule(kind="by-epoch", shares=shares((0.05, 0.1, 0.2)))
    sizes = ("tiny", "micro", "nano")
    return (
        base,
        *(
            replace(
                base,
                name=f"{base.corpus}/audiomamba-{size}",
                model=f"audiomamba_{size}",
                schedule=schedule,
            )
            for size in sizes
        ),
    )
