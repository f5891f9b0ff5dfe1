"""Rows of a small group of files, computed together.

Windows of several files share batches, and which ones do follows from the group alone. So whoever
computes a group again gets the same digits.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from audiomamba.bulk.computation import Computation
from audiomamba.bulk.decoding import Decoded
from audiomamba.bulk.part import as_text, failed_row
from audiomamba.infer.batch import kept_tags
from audiomamba.infer.events import EventFinder, in_order
from audiomamba.infer.frame_scores import score_frames_live
from audiomamba.infer.results import DIGITS, Row, Scored
from audiomamba.infer.sound_model import WINDOWS_PER_BATCH, SoundModel
from audiomamba.infer.windows import WindowBatch, WindowMean, cut
from audiomamba.models.base import AudioModel

__all__ = ["Computer"]


class _Window(NamedTuple):
    """A window that shares a batch with those of other files."""

    length: int
    file: int  # its index in the group
    start: int
    samples: Tensor


class Computer:
    """Computes rows from decoded files.

    Args:
        sound_model: the model.
        computation: what is computed.

    Raises:
        ConfigError: a setting does not fit the model.

    Examples:
        >>> import audiomamba
        >>> tagger = audiomamba.load("general", labels=["Dog", "Rain"])
        >>> decoded = Decoded(tagger.front_end.sample_rate, most_bytes=0)
        >>> decoded.add(tagger.read("my-clips/dog/1.wav").numpy().tobytes())
        >>> rows = Computer(tagger, Computation()).rows(["1.wav", "2.wav"], [decoded, "2.wav: no"])
        >>> [(row["seconds"], row["error"]) for row in rows]
        [(0.5, ''), (None, '2.wav: no')]
    """

    def __init__(self, sound_model: SoundModel, computation: Computation) -> None:
        sound_model.check(computation.reading)
        self._sound_model, self._chosen = sound_model, computation
        self._rule = computation.rule(sound_model)
        self._n_samples, self._hop = sound_model.window_and_hop(computation.reading)
        self._finder()  # which refuses what does not fit

    def rows(self, names: Sequence[str], files: Sequence[Decoded | str]) -> list[Row]:
        """Compute the rows of a group.

        Args:
            names: what the files are called in the results.
            files: each decoded, or why it could not be.

        Returns:
            A row for each.
        """
        texts = list(map(as_text, names))
        rows: list[Row] = [
            failed_row(name, file) if isinstance(file, str) else {"file": name, "error": ""}
            for name, file in zip(texts, files, strict=True)
        ]
        good = {index: one for index, one in enumerate(files) if isinstance(one, Decoded)}
        if self._chosen.tags or self._chosen.embeddings:
            for index, mean in self._means(good).items():
                rows[index] |= self._of_mean(mean)
        if self._chosen.timeline:
            for index, decoded in good.items():
                rows[index] |= self._events(decoded)
        for index, decoded in good.items():
            rows[index] |= {"seconds": round(decoded.seconds, DIGITS)}
            rows[index].setdefault("note", "")
        return rows

    def _means(self, files: dict[int, Decoded]) -> dict[int, WindowMean]:
        """What the windows of each file say on average: scores, embedding, or one after the other.

        A file's full batches are its own; the rest of its windows share batches with others'.
        """
        means = {index: WindowMean() for index in files}
        shared: list[_Window] = []
        for index, decoded in files.items():
            batches = cut(
                decoded.blocks(), self._n_samples, self._hop, batch_size=WINDOWS_PER_BATCH
            )
            for batch in batches:
                if len(batch.samples) == WINDOWS_PER_BATCH:
                    means[index].add_batch(batch, self._values(batch))
                    continue
                lengths, starts = batch.lengths.tolist(), batch.starts.tolist()
                shared += map(_Window, lengths, [index] * len(lengths), starts, batch.samples)
        said = [
            (window.file, window.start, window.length, values)
            for several in self._batches(shared)
            for window, values in zip(several, self._values(_as_batch(several)), strict=True)
        ]
        for file, start, length, values in sorted(said, key=lambda one: one[:2]):
            means[file].add(start, length, values)
        return means

    def _batches(self, windows: list[_Window]) -> Iterator[list[_Window]]:
        """Windows of about the same length together, or of the same where that has to be."""
        windows.sort(key=lambda one: one[:3])
        batch: list[_Window] = []
        for window in windows:
            differs = batch and window.length != batch[0].length
            if len(batch) == WINDOWS_PER_BATCH or (differs and not self._sound_model.mixes_lengths):
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch

    @torch.inference_mode()
    def _values(self, batch: WindowBatch) -> Tensor:
        """What the model says of windows: (windows, values)."""
        sound_model = self._sound_model
        features, lengths = sound_model.inputs(batch)
        if not self._chosen.embeddings:
            return sound_model.score_features(features, lengths).cpu()
        embeddings = sound_model.model.embed(features, lengths)
        if not self._chosen.tags:
            return embeddings.float().cpu()
        scores = self._scores(features, lengths, embeddings)
        return torch.cat([scores.float(), embeddings.float()], dim=1).cpu()

    def _scores(self, features: Tensor, lengths: Tensor | None, embeddings: Tensor) -> Tensor:
        """Scores, from the embeddings where a model's are made of them."""
        sound_model = self._sound_model
        if type(sound_model.model).forward is not AudioModel.forward:
            return sound_model.score_features(features, lengths)
        scores = sound_model.logits_to_scores(sound_model.model.head(embeddings))
        if sound_model.ood_detector is not None:
            scores = scores * sound_model.ood_detector(embeddings).unsqueeze(1)
        return sound_model.shown(scores)

    def _of_mean(self, mean: WindowMean) -> Row:
        """The fields that follow from the mean of a file's windows."""
        sound_model, values = self._sound_model, mean.result()
        rate = sound_model.front_end.sample_rate
        row: Row = {}
        if self._chosen.tags:
            n_labels = len(sound_model.labels)
            scored = Scored(values[:n_labels], mean.n_samples / rate, self._n_samples / rate)
            tags = kept_tags(sound_model.ranked(scored.scores), self._chosen.reading)
            row |= {"tags": [tag.to_dict() for tag in tags], "note": scored.note}
            values = values[n_labels:]
        if self._chosen.embeddings:
            row["embedding"] = values.numpy().astype(self._chosen.dtype)
        return row

    def _finder(self) -> EventFinder:
        return EventFinder(self._sound_model.labels, self._chosen.step_s, self._rule)

    def _events(self, decoded: Decoded) -> Row:
        """The fields that follow from the scores of a file's moments."""
        finder = self._finder()
        frames = score_frames_live(
            self._sound_model,
            decoded.blocks(),
            self._chosen.framing,
            batch_size=WINDOWS_PER_BATCH,
        )
        events = [event for block in frames for event in finder.add(block)]
        events = in_order(events + finder.finish(frames.seconds))
        return {"events": [event.to_dict() for event in events]}


def _as_batch(windows: Sequence[_Window]) -> WindowBatch:
    return WindowBatch(
        torch.stack([window.samples for window in windows]),
        torch.tensor([window.start for window in windows]),
        torch.tensor([window.length for window in windows]),
    )
