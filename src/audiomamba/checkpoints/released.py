"""Released weights of AuM and EfficientAT: what they are, what they score, where they are.

All scores are reported by the authors. AuM's are the paper's means over three runs; the released
files are single runs. Its authors host the files behind the links of their repository, whose code
is under the BSD 3-Clause licence; no other is stated for the weights. EfficientAT's are those of
the very files, which are part of a release of its repository, under the MIT licence; each file's
name tells its score.
"""

from dataclasses import dataclass
from typing import Literal

from audiomamba.audio import FrontEnd

__all__ = [
    "CORPORA",
    "RELEASED",
    "RELEASED_AUM",
    "RELEASED_EFFICIENTAT",
    "Corpus",
    "Released",
    "corpus_of",
]

AUM_REPOSITORY = "https://github.com/kaistmm/Audio-Mamba-AuM"
AUM_LICENSE = "BSD-3-Clause"
EFFICIENTAT_RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1"
EFFICIENTAT_LICENSE = "MIT"


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
        direction: form of its mixer, as in models.AuMConfig; None where it has no mixer.
        corpus: what it was trained on last.
        start: what it was trained from: "scratch", "imagenet" or "audioset".
        score: the authors' figure on that corpus, in percent.
        metric: what the figure is.
        table: where the authors report it.
        address: the file, or the page that links it.
        license: as stated by the authors.
    """

    model: str
    direction: str | None
    corpus: str
    start: str
    score: float
    metric: Literal["mAP", "accuracy"]
    table: str
    address: str
    license: str


RELEASED_AUM: tuple[Released, ...] = tuple(
    Released(
        model=model,
        direction=direction,
        corpus=corpus,
        start=start,
        score=score,
        metric="mAP" if corpus in ("audioset", "audioset_20k") else "accuracy",
        table=table,
        address=AUM_REPOSITORY,
        license=AUM_LICENSE,
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

_EFFICIENTAT_FILES: dict[str, tuple[str, ...]] = {
    "mn01_as": ("mn01_as_mAP_298.pt",),
    "mn02_as": ("mn02_as_mAP_378.pt",),
    "mn04_as": ("mn04_as_mAP_432.pt",),
    "mn05_as": ("mn05_as_mAP_443.pt",),
    "mn10_as": ("mn10_as_mAP_471.pt",),
    "mn10_as_fc": ("mn10_as_fc_mAP_465.pt",),
    "mn10_as_fc_s2211": ("mn10_as_fc_s2211_mAP_466.pt",),
    "mn10_as_fc_s2221": ("mn10_as_fc_s2221_mAP_466.pt",),
    "mn10_as_hop_5": ("mn10_as_hop_5_mAP_475.pt",),
    "mn10_as_hop_15": ("mn10_as_hop_15_mAP_463.pt",),
    "mn10_as_hop_20": ("mn10_as_hop_20_mAP_456.pt",),
    "mn10_as_hop_25": ("mn10_as_hop_25_mAP_447.pt",),
    "mn10_as_mels_40": ("mn10_as_mels_40_mAP_453.pt",),
    "mn10_as_mels_64": ("mn10_as_mels_64_mAP_461.pt",),
    "mn10_as_mels_256": ("mn10_as_mels_256_mAP_474.pt",),
    "mn20_as": ("mn20_as_mAP_478.pt",),
    "mn30_as": ("mn30_as_mAP_482.pt",),
    "mn40_as": ("mn40_as_mAP_484.pt", "mn40_as_mAP_483.pt", "mn40_as_mAP_483(2).pt"),
    "mn40_as_ext": (
        "mn40_as_ext_mAP_487.pt",
        "mn40_as_ext_mAP_486.pt",
        "mn40_as_ext_mAP_485.pt",
    ),
    "mn40_as_no_im_pre": (
        "mn40_as_no_im_pre_mAP_483.pt",
        "mn40_as_no_im_pre_mAP_483(2).pt",
        "mn40_as_no_im_pre_mAP_482.pt",
    ),
}
RELEASED_EFFICIENTAT: tuple[Released, ...] = tuple(
    Released(
        model=model,
        direction=None,
        corpus="audioset",
        start="scratch" if model.endswith("no_im_pre") else "imagenet",
        score=int(file.partition("_mAP_")[2][:3]) / 10,
        metric="mAP",
        table="README of the repository and names of the files",
        address=f"{EFFICIENTAT_RELEASE}/{file}",
        license=EFFICIENTAT_LICENSE,
    )
    for model, files in _EFFICIENTAT_FILES.items()
    for file in files
)
RELEASED: tuple[Released, ...] = RELEASED_AUM + RELEASED_EFFICIENTAT


def corpus_of(n_classes: int) -> str | None:
    """Guess the corpus of released weights by the size of their head.

    Args:
        n_classes: outputs of the head.

    Returns:
        A name of CORPORA, or None.
    """
    return next((name for name, it in CORPORA.items() if it.n_classes == n_classes), None)
