"""The common API of the HEAR benchmark: embeddings of sounds, and of every 50 ms of them.

    from audiomamba import hear_benchmark

    model = hear_benchmark.load_model()
    embeddings = hear_benchmark.get_scene_embeddings(audio, model)
    embeddings, timestamps_ms = hear_benchmark.get_timestamp_embeddings(audio, model)

Source: Turian et al., "HEAR: Holistic Evaluation of Audio Representations" (2022), and its common
API.
"""

import torch
from torch import Tensor, nn

from audiomamba import infer
from audiomamba.errors import ConfigError
from audiomamba.infer import Framing, Tagger
from audiomamba.infer.frame_scores import embed_frames

__all__ = ["Model", "get_scene_embeddings", "get_timestamp_embeddings", "load_model"]

STEP_MS = 50.0  # the longest that the benchmark recommends


class Model(nn.Module):
    """A model with the attributes that the benchmark asks for.

    Args:
        tagger: the model with its front end.
    """

    sample_rate: int
    scene_embedding_size: int
    timestamp_embedding_size: int

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger = tagger
        self.encoder = tagger.model  # so that .to(device) moves it
        self.sample_rate = tagger.front_end.sample_rate
        second = torch.zeros(1, self.sample_rate)
        self.scene_embedding_size = get_scene_embeddings(second, self).shape[1]
        self.timestamp_embedding_size = get_timestamp_embeddings(second, self)[0].shape[2]


def load_model(model_file_path: str = "") -> Model:
    """Load a model.

    Args:
        model_file_path: a model's name or folder; empty for the one that ships with the package.

    Returns:
        The model, in evaluation mode.

    Raises:
        UnknownNameError: no model has that name, and no folder either.
        CheckpointError: the folder is damaged or holds something else.

    Examples:
        >>> load_model().sample_rate
        32000
    """
    return Model(infer.load(model_file_path or "general")).eval()


def get_scene_embeddings(audio: Tensor, model: Model) -> Tensor:
    """Embed sounds as a whole.

    Args:
        audio: (sounds, samples) at model.sample_rate, floating point from -1 to 1; any length.
        model: as load_model gives it.

    Returns:
        (sounds, model.scene_embedding_size) float32.

    Raises:
        ConfigError: the audio has another shape.

    Examples:
        >>> get_scene_embeddings(torch.zeros(2, 32_000), load_model()).ndim
        2
    """
    recordings = _recordings(audio, model)
    return torch.stack([model.tagger.embed(one) for one in recordings]).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: Model) -> tuple[Tensor, Tensor]:
    """Embed every 50 ms of sounds.

    Args:
        audio: as for get_scene_embeddings.
        model: as load_model gives it.

    Returns:
        Embeddings (sounds, timestamps, model.timestamp_embedding_size) float32, and the middles of
        the times that they stand for, (sounds, timestamps), in milliseconds.

    Raises:
        ConfigError: the audio has another shape.

    Examples:
        >>> _, times_ms = get_timestamp_embeddings(torch.zeros(1, 4_800), load_model())
        >>> times_ms
        tensor([[ 25.,  75., 125.]])
    """
    framing = Framing(step_s=STEP_MS / 1000)
    recordings = _recordings(audio, model)
    embeddings = torch.stack(
        [torch.cat(list(embed_frames(model.tagger, one, framing))) for one in recordings]
    )
    length_ms = 1000 * audio.shape[1] / model.sample_rate
    timestamps_ms = (torch.arange(embeddings.shape[1]) + 0.5) * STEP_MS
    kept = max(1, int((timestamps_ms <= length_ms).sum()))
    timestamps_ms = timestamps_ms[:kept].to(audio.device)
    return embeddings[:, :kept].to(audio.device), timestamps_ms.repeat(len(audio), 1)


def _recordings(audio: Tensor, model: Model) -> list[tuple[Tensor, int]]:
    if audio.ndim != 2:
        raise ConfigError(f"audio has shape {tuple(audio.shape)}; expected (sounds, samples)")
    return [(sound.cpu(), model.sample_rate) for sound in audio]
