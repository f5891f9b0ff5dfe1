"""The weights that AuM's authors released: what they are, what they score, where they are.

Scores are the paper's means over three runs; the released files are single runs. The authors host
the files behind the links of their repository, whose code is under the BSD 3-Clause licence; no
other is stated for the weights.
"""

from dataclasses import dataclass
from typing import Literal

from audiomamba.audio import FrontEnd

__all__ = ["CORPORA", "RELEASED", "Corpus", "Released", "corpus_of"]

AUM_REPOSITORY = "https://github.com/kaistmm/Audio-Mamba-AuM"
CODE_LICENSE = "BSD-3-Clause"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What a corpus's models have in common.

    Args:
        n_classes: number of labels.
        scores: how the models' logits become scores.
        front_end: how the input of AuM's models is made.
    """

    n_classes: int
    scores: Literal["sigmoid", "softmax"]
    front_end: FrontEnd


EPIC_SOUNDS = FrontEnd(
    kind="epic_sounds",
    sample_rate=24_000,
    frame_length_ms=10.0,
    frame_shift_ms=5.0,
    low_hz=0.0,
    mean=None,
    std=None,
)
CORPORA: dict[str, Corpus] = {
    "audioset": Corpus(n_classes=527, scores="sigmoid", front_end=FrontEnd()),
    "vggsound": Corpus(
        n_classes=309, scores="sigmoid", front_end=FrontEnd(mean=-5.0767093, std=4.4533687)
    ),
    "voxceleb": Corpus(
        n_classes=1251, scores="softmax", front_end=FrontEnd(mean=-3.7614744, std=4.2011642)
    ),
    "speech_commands_v2": Corpus(
        n_classes=35,
        scores="sigmoid",
        front_end=FrontEnd(n_frames=128, mean=-6.845978, std=5.5654526),
    ),
    "epic_sounds": Corpus(n_classes=44, scores="softmax", front_end=EPIC_SOUNDS),
    "esc50": Corpus(n_classes=50, scores="softmax", front_end=FrontEnd()),
}


@dataclass(frozen=True, kw_only=True)
class Released:
    """One set of released weights.

    Args:
        model: the name of the model here.
        direction: form of its mixer, as in models.AuMConfig.
        corpus: what it was trained on last.
        start: what it was trained from: "scratch", "imagenet" or "audioset".
        score: the paper's figure on that corpus, in percent.
        metric: what the figure is.
        table: where in the paper it stands.
        address: the page that links the file.
        license: as stated by the authors.
    """

    model: str
    direction: str
    corpus: str
    start: str
    score: float
    metric: Literal["mAP", "accuracy"]
    table: str
    address: str = AUM_REPOSITORY
    license: str = CODE_LICENSE


RELEASED: tuple[Released, ...] = tuple(
    Released(
        model=model,
        direction=direction,
        corpus=corpus,
        start=start,
        score=score,
        metric="mAP" if corpus in ("audioset", "audioset_20k") else "accuracy",
        table=table,
    )
    for model, direction, start, table, scores in (
        ("aum_base", "fo-bi", "scratch", "I", (32.43, 13.28, 42.58, 28.34, 91.58, 44.17)),
        ("aum_small", "bi-bi", "imagenet", "III", (39.68, 28.89, 49.43, 40.58, 97.51, 52.90)),
        ("aum_base", "fo-bi", "audioset", "IV", (None, None, 46.61, 40.72, 94.78, 48.18)),
    )
    for corpus, score in zip(
        ("audioset", "audioset_20k", "vggsound", "voxceleb", "speech_commands_v2", "epic_sounds"),
        scores,
        strict=True,
    )
    if score is not None
)


def corpus_of(n_classes: int) -> str | None:
    """Guess the corpus of released weights by the size of their head.

    Args:
        n_classes: outputs of the head.

    Returns:
        A name of CORPORA, or None.
    """
    return next((name for name, it in CORPORA.items() if it.n_classes == n_classes), None)
