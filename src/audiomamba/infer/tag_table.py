"""Tables of tagged recordings that are made in one go or in several, also after a crash.

The rows stand in the order of the recordings; see audiomamba.infer.formats.tags for the formats.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from audiomamba.infer.batch import tag_unordered
from audiomamba.infer.formats.format import choose_by_suffix
from audiomamba.infer.formats.tags import TAG_TABLES, TagLayout
from audiomamba.infer.journal import Journal
from audiomamba.infer.reading import TagOptions
from audiomamba.infer.results import Failed, Rows, Tagged
from audiomamba.infer.sound_model import SoundModel

__all__ = ["TaggedTable"]

SCHEMA = 2  # of a row; 1 had neither `heard` nor this number


class TaggedTable:
    """A table of tagged recordings in the making, which goes on where it was cut off.

    Args:
        sound_model: the model.
        files: the recordings; they are gone through once, and not held in memory.
        out: where the table goes; the suffix says the format.
        options: how the recordings are read, and which tags are kept.
        about: what else the tags depend on, such as the hash of the model's weights.
        overwrite: whether a table that is there already, or what is left of another call, gives
            way.

    Raises:
        ConfigError: there is a table already, or what is left of another call or of an older
            version's, or it cannot be written; or as for Tagger.tag.
        MissingDependencyError: the format needs pyarrow, and it is not installed.
        DataError: what is left of the call is damaged.
    """

    def __init__(
        self,
        sound_model: SoundModel,
        files: Iterable[Path],
        out: Path,
        options: TagOptions,
        *,
        about: Mapping[str, str],
        overwrite: bool,
    ) -> None:
        self._format = choose_by_suffix(TAG_TABLES, out, "tags")
        sound_model.check(options)
        call = {"schema": SCHEMA, "model": sound_model.name, **about, **asdict(options)}
        if not sound_model.shows_all:
            call["labels"] = list(sound_model.labels)
        self._sound_model, self._options = sound_model, options
        self._journal = Journal(out, call, files, overwrite=overwrite)
        self._call = call
        self.n_todo, self.n_files = self._journal.n_todo, self._journal.n_files

    @property
    def n_failed(self) -> int | None:
        """How many recordings failed; None until the table is finished."""
        return self._journal.n_failed

    def results(self) -> Iterator[Tagged | Failed]:
        """Tag the recordings that have no row yet; the table is finished with the last.

        Yields:
            A result for each as soon as it is ready; being killed does not lose it any more.
        """
        try:
            for _, result in tag_unordered(self._sound_model, self._journal.todo(), self._options):
                self._journal.add(result.file, result.to_dict())
                yield result
            if self.n_failed is None:
                self._journal.finish(self._write)
        finally:
            self._journal.close()

    def _write(self, file: Path, rows: Rows) -> None:
        """Write the table in the format that its name asks for."""
        n_tags = self._options.top
        if n_tags is None:
            n_tags = max((len(row["tags"]) for row in rows()), default=0)
        layout = TagLayout(
            files=[],
            labels=self._sound_model.labels,
            n_tags=min(n_tags, len(self._sound_model.labels)),
            heard=bool(self._sound_model.thresholds),
        )
        self._format(layout).write(file, rows, self._call)
