"""How a recording becomes frames, and what that means for a model."""

from dataclasses import dataclass, replace

from audiomamba.errors import ConfigError
from audiomamba.infer.reading import Reading
from audiomamba.infer.sound_model import SoundModel

__all__ = ["STEP_S", "Framing", "for_moments", "step_samples", "window_and_hop"]

STEP_S = 0.1
OVERLAP = 2  # windows that a moment is in, where a window's steps are scored
OVERLAP_OF_WHOLE = 10  # the same where windows are scored as a whole


@dataclass(frozen=True, kw_only=True)
class Framing(Reading):
    """How a recording becomes frames.

    Args:
        mode: as for Reading.
        window_s: as for Reading; by default, where scores are asked for and no hop_s is given, the
            windows that tell the model's moments apart best: 2 s for general.
        hop_s: as for Reading; by default half a window, or a tenth where a model scores windows
            only.
        step_s: seconds from one frame to the next, at least one of the front end's frames.

    Raises:
        ConfigError: as for Reading.
        UnknownNameError: as for Reading.

    Examples:
        >>> Framing(step_s=0.5).mode
        'windows'
    """

    step_s: float = STEP_S


def for_moments(sound_model: SoundModel, framing: Framing) -> Framing:
    """Fill in the window that tells the moments of a recording apart best.

    Args:
        sound_model: the model.
        framing: how recordings become frames.

    Returns:
        The framing, with the model's own window if it names none and reads windows.
    """
    best_s = sound_model.model.moments_window_s
    if best_s is None or framing.mode == "native" or (framing.window_s or framing.hop_s):
        return framing
    longest_s = sound_model.front_end.n_samples / sound_model.front_end.sample_rate
    return replace(framing, window_s=min(best_s, longest_s))


def step_samples(sound_model: SoundModel, framing: Framing) -> float:
    """Compute the distance of frames in samples.

    Args:
        sound_model: the model.
        framing: how recordings become frames.

    Returns:
        Samples from one frame to the next; need not be whole.

    Raises:
        ConfigError: the step is shorter than a frame of the front end.
    """
    rate, shift = sound_model.front_end.sample_rate, sound_model.front_end.shift_samples
    step = framing.step_s * rate
    if not shift <= step < float("inf"):
        raise ConfigError(
            f"a step of {framing.step_s} s was asked for; "
            f"{sound_model.name} has frames of {shift / rate:g} s, so expected at least that"
        )
    return step


def window_and_hop(sound_model: SoundModel, framing: Framing) -> tuple[int, int] | None:
    """Compute the length of windows and the distance of their starts in samples.

    Args:
        sound_model: the model.
        framing: how recordings become frames.

    Returns:
        Samples in a window, and from one window's start to the next's; None for one pass.

    Raises:
        ConfigError: a length is out of its range, or the model cannot score moments in one pass.
    """
    if framing.mode == "windows":
        n_samples, hop = sound_model.window_and_hop(framing)
        overlap = OVERLAP if sound_model.model.pools_frames else OVERLAP_OF_WHOLE
        return n_samples, hop if framing.hop_s is not None else max(1, n_samples // overlap)
    if not (sound_model.model.config.one_pass and sound_model.model.pools_frames):
        raise ConfigError(
            f"{sound_model.name} cannot score the moments of a recording in one pass; use windows"
        )
    return None
