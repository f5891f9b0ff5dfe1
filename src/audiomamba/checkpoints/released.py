"""Released weights of AuM and EfficientAT: what they are, what they score, where they are.

All scores are reported by the authors. AuM's are the paper's means over three runs; the released
files are single runs. Its authors host the files behind the links of their repository, whose code
is under the BSD 3-Clause licence; no other is stated for the weights. EfficientAT's are those of
the very files, which are part of a release of its repository, under the MIT licence; each file's
name tells its score.
"""

from dataclasses import dataclass
from typing import Literal

from audiomamba.data.corpora import CORPORA

__all__ = ["RELEASED", "RELEASED_AUM", "RELEASED_EFFICIENTAT", "Released"]

AUM_REPOSITORY = "https://github.com/kaistmm/Audio-Mamba-AuM"
AUM_LICENSE = "BSD-3-Clause"
EFFICIENTAT_RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1"
EFFICIENTAT_LICENSE = "MIT"


@dataclass(frozen=True, kw_only=True)
class Released:
    """One set of released weights.

    Args:
        model: the name of the model here.
        direction: form of its mixer, as in models.AuMConfig; None where it has no mixer.
        corpus: what it was trained on last, a name of data.CORPORA.
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
        metric=CORPORA[corpus].metric,
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
        ("audioset", "audioset20k", "vggsound", "voxceleb1", "speech_commands", "epic_sounds"),
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
