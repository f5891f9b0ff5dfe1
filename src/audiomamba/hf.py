"""Model folders in the transformers library.

Importing this module registers its classes, so that no code from a model folder is run:

    import audiomamba.hf
    from transformers import pipeline

    tag = pipeline("audio-classification", model="FOLDER")

Without it the library asks for `trust_remote_code=True`, and then takes the same classes by a short
file in the folder. Scores are those of `audiomamba.load(FOLDER).tag(...)`, at any length.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba import audio, checkpoints
from audiomamba.checkpoints import Checkpoint, Settings
from audiomamba.errors import CheckpointError, MissingDependencyError
from audiomamba.infer.scoring import score_recording
from audiomamba.infer.sound_model import SoundModel
from audiomamba.models.ood import OODDetector

try:
    from transformers import (
        AutoConfig,
        AutoModelForAudioClassification,
        PretrainedConfig,
        PreTrainedModel,
    )
    from transformers.modeling_outputs import SequenceClassifierOutput
except ModuleNotFoundError as error:
    raise MissingDependencyError("transformers", "hf", "audiomamba.hf") from error

__all__ = ["AudioMambaConfig", "AudioMambaModel"]

LEAST = 1e-7  # a score nearer to 0 or 1 has no logit that float32 can hold
ONLY_FOR = ("familiarity", "thresholds", "hidden", "parents")  # the labels of the folder


class AudioMambaConfig(PretrainedConfig):  # type: ignore[no-untyped-call,unused-ignore]
    """What config.json of a model folder says, as the transformers library keeps it.

    Args:
        values: by key.
    """

    model_type = "audiomamba"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    def settings(self) -> Settings:
        """Read the settings; other labels than the folder's make a model with a new head.

        Returns:
            What Checkpoint is made of.

        Raises:
            CheckpointError: a value is missing or none that is known.
        """
        values: dict[str, Any] = self.to_dict()
        names: dict[int, str] = {int(key): str(it) for key, it in values["id2label"].items()}
        labels = [names[index] for index in sorted(names)]
        if values.get("labels") != labels and "model" in values:
            values |= {"labels": labels, "model": values["model"] | {"n_classes": len(labels)}}
            values |= dict.fromkeys(ONLY_FOR)
        return checkpoints.read_settings(values, "config.json")


class AudioMambaModel(PreTrainedModel):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """A model of sound: waveforms in, logits out.

    In evaluation a logit's sigmoid is the score that the package gives, whatever the model is
    trained with. In training logits are the network's own, and the loss is that of the model:
    binary or over all classes.

    Args:
        config: the settings of a model folder.

    Raises:
        CheckpointError: they are none, or of a model of images.
    """

    config_class = AudioMambaConfig
    base_model_prefix = "net"
    main_input_name = "input_values"

    def __init__(self, config: AudioMambaConfig) -> None:
        super().__init__(config)
        self.settings = config.settings()
        front_end = self.settings.others["front_end"]
        if front_end is None:
            raise CheckpointError("config.json is that of a model of images; expected one of sound")
        self.front_end: audio.FrontEnd = front_end
        self.net = self.settings.model.build()
        if self.settings.limit is not None:
            if self.settings.detector_size is None:
                raise CheckpointError(
                    "config.json does not say how large the out-of-distribution detector is; load "
                    "the folder with audiomamba.checkpoints and save it again"
                )
            self.familiarity = OODDetector(*self.settings.detector_size, self.settings.limit)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Score clips.

        Args:
            input_values: (clips, samples) at the model's rate, padded at the end.
            attention_mask: (clips, samples), 1 where there is sound; None for all.
            labels: (clips, classes) from 0 to 1, or (clips,) indices of classes; None for no loss.

        Returns:
            logits (clips, classes), and the loss if there are labels.
        """
        n_samples = input_values.shape[1]
        if attention_mask is None:
            lengths = torch.full((len(input_values),), n_samples, device=input_values.device)
        else:
            lengths = attention_mask.sum(dim=1)
        logits = loss = None
        if self.training or labels is not None:
            features = audio.features(input_values.float(), self.front_end, lengths)
            logits = self.net(features)
        if labels is not None and logits is not None:
            loss = self._loss(logits, labels)
        if not self.training:
            logits = self._logits_of_scores(input_values, lengths)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def save_pretrained(
        self, save_directory: Any, *_: Any, push_to_hub: bool = False, **options: Any
    ) -> None:
        """Write a model folder, which this package and the transformers library load.

        Args:
            save_directory: the folder.
            push_to_hub: also upload it.
            options: repo_id and others for push_to_hub; the rest is of no use here.
        """
        checkpoints.save(Path(save_directory), self.checkpoint())
        if push_to_hub:
            repo = options.get("repo_id") or Path(save_directory).name
            known = {key: options[key] for key in ("private", "token") if key in options}
            push: Any = self.push_to_hub
            push(repo, **known)

    def checkpoint(self) -> Checkpoint:
        """The model with its front end and labels, as the rest of the package has it.

        Returns:
            The checkpoint; it shares the weights.
        """
        return self.settings.checkpoint(self.net, getattr(self, "familiarity", None))

    def _logits_of_scores(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """The logits whose sigmoid is what the package gives for each clip alone."""
        sound_model, rate = SoundModel(self.checkpoint()), self.front_end.sample_rate
        scores = [
            score_recording(sound_model, (waveform[: int(length)].float().cpu(), rate)).scores
            for waveform, length in zip(waveforms.detach(), lengths, strict=True)
        ]
        return torch.logit(torch.stack(scores), eps=LEAST).to(waveforms.device)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.settings.others["scores"] == "softmax":
            return F.cross_entropy(logits, labels)
        if labels.ndim == 1:
            labels = F.one_hot(labels, logits.shape[1])
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


AutoConfig.register("audiomamba", AudioMambaConfig, exist_ok=True)
AutoModelForAudioClassification.register(AudioMambaConfig, AudioMambaModel, exist_ok=True)
