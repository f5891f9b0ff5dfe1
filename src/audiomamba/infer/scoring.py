"""The scores of one recording, from those of its windows or from one pass over it."""

import torch

from audiomamba.audio.blocks import OnDamage
from audiomamba.infer.reading import Reading
from audiomamba.infer.recording import Audio
from audiomamba.infer.results import Scored
from audiomamba.infer.sound_model import SoundModel
from audiomamba.infer.windows import WindowMean

__all__ = ["score_recording"]


def score_recording(
    sound_model: SoundModel,
    recording: Audio,
    reading: Reading | None = None,
    *,
    on_damage: OnDamage | None = None,
) -> Scored:
    """Score every label of a model for one recording.

    Args:
        sound_model: the model.
        recording: as for Tagger.tag.
        reading: in windows, or in one pass; None for the model's own windows.
        on_damage: as for audio.stream.

    Returns:
        The scores, with the recording's length.

    Raises:
        AudioError: as for Tagger.tag.
        ConfigError: as for Tagger.tag.
    """
    reading = reading or Reading()
    sound_model.check(reading)
    if reading.mode == "native":
        return _score_in_one_pass(sound_model, recording, on_damage)
    mean, rate = WindowMean(), sound_model.front_end.sample_rate
    for batch in sound_model.windows(recording, reading, on_damage=on_damage):
        mean.add_batch(batch, sound_model.score_windows(batch))
    n_samples, _ = sound_model.window_and_hop(reading)
    return Scored(mean.result(), mean.n_samples / rate, n_samples / rate)


@torch.inference_mode()
def _score_in_one_pass(
    sound_model: SoundModel, recording: Audio, on_damage: OnDamage | None
) -> Scored:
    samples = sound_model.read(recording, on_damage=on_damage)
    seconds = len(samples) / sound_model.front_end.sample_rate
    scores = sound_model.score_features(sound_model.one_pass_inputs(samples))[0].cpu()
    return Scored(scores, seconds, max(seconds, sound_model.front_end.clip_s))
