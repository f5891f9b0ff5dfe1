"""What HTS-AT and the hierarchical AudioMamba share: a spectrogram read as a square image.

Each mel band is normalized. Time is cut into chunks that are laid one below the other, so that the
long, low spectrogram becomes a square image, which the stages of a vision model shrink. The rows of
the last map are then put back into one line of time steps, and a convolution over it scores every
step for every class; the mean over the steps scores the clip.

Source: Chen et al., "HTS-AT: A Hierarchical Token-Semantic Audio Transformer for Sound
Classification and Detection" (2022), section 2.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import FrameSteps, ModelConfig, new_head
from audiomamba.models.layers.conv import masked_batch_norm
from audiomamba.models.layers.input_map import fit_features
from audiomamba.models.layers.vision import FeatureMap, HierarchicalModel

__all__ = ["MelImageConfig", "MelImageModel", "TokenSemanticHead", "fold_time", "unfold_time"]


@dataclass(frozen=True, kw_only=True)
class MelImageConfig(ModelConfig):
    """The settings that every model of a mel image has.

    Args:
        image_size: rows and columns of the image.
        head: "token-semantic" scores every time step and takes their mean; "linear" scores the mean
            of all tokens.
        short_clips: how a clip with fewer frames than the image takes is made longer: "stretch"
            interpolates it, "repeat" repeats it as often as it fits whole, then interpolates.
        crop_average: what is averaged over the crops of a clip that is too long for one image.

    Raises:
        ConfigError: the mel bands do not fit into the image.
    """

    n_mels: int = 64
    n_frames: int = 1001
    image_size: int = 256
    head: Literal["token-semantic", "linear"] = "token-semantic"
    short_clips: Literal["stretch", "repeat"] = "stretch"
    crop_average: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_mels > self.image_size or self.image_size % self.n_chunks:
            raise ConfigError(
                f"{self.n_mels} mel bands do not fit an image of {self.image_size} rows; "
                "expected image_size // n_mels to divide image_size"
            )

    @property
    def n_chunks(self) -> int:
        """Chunks of time that lie one below the other in the image."""
        return self.image_size // self.n_mels

    @property
    def most_frames(self) -> int:
        """Frames that fit into one image."""
        return self.image_size * self.n_chunks


class TokenSemanticHead(nn.Module):
    """Score every time step for every class, looking one step back and one ahead.

    Args:
        dim: channels of the map.
        n_bins: rows (of frequency) of the map.
        n_classes: outputs.

    Source: Chen et al. 2022, section 2.3.
    """

    def __init__(self, dim: int, n_bins: int, n_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, n_classes, (n_bins, 3), padding=(0, 1))

    def forward(self, steps: Tensor) -> Tensor:
        """Score time steps.

        Args:
            steps: (batch, bins, steps, dim).

        Returns:
            Logits (batch, steps, classes).
        """
        out: Tensor = self.conv(steps.permute(0, 3, 1, 2))
        return out.flatten(2).transpose(1, 2)


class MelImageModel(HierarchicalModel):
    """Stages of a vision model on a mel image; what the stages are, each system says.

    Args:
        config: the model's settings.
        dim: channels of the last stage.
        stride: rows of the image per row of the last stage's map.

    Raises:
        ConfigError: the last map does not have the same number of whole rows for every chunk.
    """

    config: MelImageConfig

    def __init__(self, config: MelImageConfig, *, dim: int, stride: int) -> None:
        super().__init__(config)
        if config.image_size % (stride * config.n_chunks):
            raise ConfigError(
                f"an image of {config.image_size} rows in {config.n_chunks} chunks cannot be "
                f"shrunk {stride} times; expected a multiple of {stride * config.n_chunks} rows"
            )
        self._stride = stride
        self._head_size = (dim, config.image_size // (stride * config.n_chunks))
        self.bn0 = nn.BatchNorm1d(config.n_mels)
        self.norm = nn.LayerNorm(dim)
        self.head = self._new_head()

    @abstractmethod
    def stages(self, image: Tensor) -> list[Tensor]:
        """Encode an image.

        Args:
            image: (batch, 1, image_size, image_size).

        Returns:
            One map (batch, rows, columns, channels) per stage, the largest first, before the last
            norm.
        """

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score features for each class.

        Of a clip that is too long for one image, a random crop is read in training; otherwise
        crops that overlap by half are read and their scores averaged.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: (batch,) frames of each clip, integers; None for all frames of all clips.

        Returns:
            Logits (batch, classes).

        Raises:
            ConfigError: the features have another number of mel bands, or the lengths do not fit.
        """
        return self._per_clip(features, lengths, self._clip_logits)

    def frame_logits(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score time steps for each class.

        Args:
            features: (batch, frames, mels); a clip that is too long for one image is read in equal
                pieces, one after the other.
            lengths: as in forward.

        Returns:
            Logits (batch, steps, classes); the steps cover the clip evenly, or several times in
            turn where the image repeats it.

        Raises:
            ConfigError: as in forward.
        """
        return self._per_clip(features, lengths, self._step_logits)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per time step.

        Args:
            features: (batch, frames, mels); read as by frame_logits.
            lengths: as in forward.

        Returns:
            (batch, steps, dim), the mean over a step's bins of frequency.

        Raises:
            ConfigError: as in forward.
        """
        return self._per_clip(features, lengths, lambda *clips: self._steps(*clips).mean(dim=1))

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into time steps.

        Args:
            n_frames: frames of the clip.

        Returns:
            The steps; where the image repeats the clip, those of the first time.
        """
        config = self.config
        n_steps = config.n_chunks * (config.image_size // self._stride)
        n_steps *= -(-n_frames // config.most_frames)
        n_times = max(1, config.most_frames // n_frames) if config.short_clips == "repeat" else 1
        return FrameSteps(n_steps // n_times, n_frames * n_times / n_steps)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: (batch, frames, mels); read as by frame_logits.
            lengths: as in forward.

        Returns:
            (batch, tokens, dim), after the last norm: row after row of the last map.

        Raises:
            ConfigError: as in forward.
        """
        return self._per_clip(features, lengths, self._tokens)

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels); read as by frame_logits.
            lengths: as in forward.

        Returns:
            (batch, dim), the mean of the tokens.

        Raises:
            ConfigError: as in forward.
        """
        return self._per_clip(features, lengths, lambda *clips: self._tokens(*clips).mean(dim=1))

    def forward_intermediates(self, features: Tensor) -> list[FeatureMap]:
        """Encode features as one map per stage.

        Args:
            features: (batch, frames, mels), no more frames than fit into one image.

        Returns:
            The stages' outputs, the largest map first. Their rows and columns are those of the
            image: each chunk of time has its own rows of frequency.

        Raises:
            ConfigError: the features have another number of mel bands, or too many frames.
        """
        features, _ = fit_features(features, None, self.config.n_mels)
        maps = self.stages(self._image(self._normed(features, None), None))
        size = self.config.image_size
        return [FeatureMap(one.permute(0, 3, 1, 2), size // one.shape[1]) for one in maps]

    def reset_head(self, n_classes: int) -> None:
        """Replace the head by a fresh one for other classes; all else stays.

        Args:
            n_classes: outputs of the new head.
        """
        old = next(self.head.parameters())
        self.config = self.config.changed(n_classes=n_classes)
        self.head = self._new_head().to(old.device, old.dtype)

    def _new_head(self) -> nn.Module:
        dim, n_bins = self._head_size
        if self.config.head == "linear":
            return new_head(dim, self.config.n_classes)
        return TokenSemanticHead(dim, n_bins, self.config.n_classes)

    def _per_clip(
        self,
        features: Tensor,
        lengths: Tensor | None,
        run: Callable[[Tensor, Tensor | None], Tensor],
    ) -> Tensor:
        """Run what reads normed features; clips that take several images by their lengths."""
        features, lengths = fit_features(features, lengths, self.config.n_mels)
        normed = self._normed(features, lengths)
        if lengths is None or normed.shape[1] <= self.config.most_frames:
            return run(normed, lengths)
        return _for_each_length(normed, lengths, lambda clips: run(clips, None))

    def _normed(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """Each mel band normalized; (batch, frames, mels) in and out."""
        return masked_batch_norm(self.bn0, features.transpose(1, 2), lengths, dim=2).transpose(1, 2)

    def _image(self, normed: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is not None:
            return _for_each_length(normed, lengths, lambda clips: self._image(clips, None))
        if self.config.short_clips == "repeat":
            normed = normed.repeat(1, max(1, self.config.most_frames // normed.shape[1]), 1)
        return fold_time(normed, self.config.image_size, self.config.n_chunks)

    def _pieces(self, normed: Tensor) -> tuple[Tensor, ...]:
        """Equal pieces in time, each no longer than an image takes."""
        n_pieces = -(-normed.shape[1] // self.config.most_frames)
        return torch.tensor_split(normed, n_pieces, dim=1)

    def _last_map(self, normed: Tensor, lengths: Tensor | None) -> Tensor:
        """The last stage's map (batch, rows, columns, dim), after the norm."""
        out: Tensor = self.norm(self.stages(self._image(normed, lengths))[-1])
        return out

    def _tokens(self, normed: Tensor, lengths: Tensor | None) -> Tensor:
        maps = [self._last_map(piece, lengths) for piece in self._pieces(normed)]
        return torch.cat([one.flatten(1, 2) for one in maps], dim=1)

    def _steps(self, normed: Tensor, lengths: Tensor | None) -> Tensor:
        """The last maps in one line of time, (batch, bins, steps, dim)."""
        maps = [self._last_map(piece, lengths) for piece in self._pieces(normed)]
        return torch.cat([unfold_time(one, self.config.n_chunks) for one in maps], dim=2)

    def _step_logits(self, normed: Tensor, lengths: Tensor | None) -> Tensor:
        steps = self._steps(normed, lengths)
        out: Tensor = self.head(steps.mean(dim=1) if self.config.head == "linear" else steps)
        return out

    def _clip_logits(self, normed: Tensor, lengths: Tensor | None) -> Tensor:
        longest = self.config.most_frames
        if normed.shape[1] > longest and self.training:
            normed = _random_crop(normed, longest)
        if normed.shape[1] <= longest:
            return self._step_logits(normed, lengths).mean(dim=1)
        crops = _crops(normed, longest)
        logits = torch.stack([self._step_logits(crop, None).mean(dim=1) for crop in crops])
        if self.config.crop_average == "logits":
            return logits.mean(dim=0)
        return _logit_of_mean_probability(logits)


def fold_time(features: Tensor, size: int, n_chunks: int) -> Tensor:
    """Lay chunks of time one below the other, as a square image.

    What is too small is stretched (bicubic, the corners kept), time first, then frequency.

    Args:
        features: (batch, frames, mels), at most size * n_chunks frames and size / n_chunks mels.
        size: rows and columns of the image.
        n_chunks: how many chunks; divides size.

    Returns:
        (batch, 1, size, size): row chunk * mels + mel, column time within the chunk.

    Raises:
        ConfigError: there are too many frames or mel bands.
    """
    n_frames, n_mels = size * n_chunks, size // n_chunks
    if features.shape[1] > n_frames or features.shape[2] > n_mels:
        raise ConfigError(
            f"features have {features.shape[1]} frames and {features.shape[2]} mel bands; "
            f"expected at most {n_frames} and {n_mels}"
        )
    image = features.unsqueeze(1)
    if image.shape[2] < n_frames:
        image = _stretch(image, (n_frames, image.shape[3]))
    if image.shape[3] < n_mels:
        image = _stretch(image, (n_frames, n_mels))
    chunks: Tensor = image.unflatten(2, (n_chunks, size))
    return chunks.transpose(3, 4).flatten(2, 3)


def unfold_time(last: Tensor, n_chunks: int) -> Tensor:
    """Put the chunks of a folded map back into one line of time.

    Args:
        last: (batch, rows, columns, dim); rows are a multiple of n_chunks.
        n_chunks: how many chunks lie one below the other.

    Returns:
        (batch, rows / n_chunks, n_chunks * columns, dim): bins of frequency, steps of time.
    """
    chunks: Tensor = last.unflatten(1, (n_chunks, -1))
    return chunks.transpose(1, 2).flatten(2, 3)


def _stretch(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bicubic", align_corners=True)


def _random_crop(features: Tensor, n_frames: int) -> Tensor:
    """Another piece of so many frames of each clip."""
    batch, n_all, n_mels = features.shape
    start = torch.randint(n_all - n_frames + 1, (batch, 1), device=features.device)
    index = start + torch.arange(n_frames, device=features.device)
    return features.gather(1, index[:, :, None].expand(-1, -1, n_mels))


def _crops(features: Tensor, longest: int) -> list[Tensor]:
    """Crops of a half of the clip, or a third and so on, that overlap by half."""
    n_steps = features.shape[1] - 1
    n_parts = max(2, n_steps // (longest + 1) + 1)
    length, hop = n_steps // n_parts, n_steps // (2 * n_parts)
    return [features[:, start : start + length] for start in range(0, n_steps - length, hop)]


def _logit_of_mean_probability(logits: Tensor) -> Tensor:
    """(crops, batch, classes) -> (batch, classes), safe for very high and very low logits."""
    return F.logsigmoid(logits).logsumexp(dim=0) - F.logsigmoid(-logits).logsumexp(dim=0)


def _for_each_length(features: Tensor, lengths: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Run what reads clips of one length only, once for each length.

    Args:
        features: (batch, frames, mels).
        lengths: (batch,) frames of each clip.
        run: from (clips, frames, mels) to (clips, ...).

    Returns:
        (batch, ...), padded with 0 along the axis after the batch where results differ in length.
    """
    order, results = [], []
    for length in lengths.unique().tolist():
        of_length = (lengths == length).nonzero().flatten()
        order.append(of_length)
        results.append(run(features[of_length, :length]))
    longest = max(one.shape[1] for one in results)
    results = [F.pad(one, [0] * (2 * one.ndim - 3) + [longest - one.shape[1]]) for one in results]
    return torch.cat(results)[torch.cat(order).argsort()]
