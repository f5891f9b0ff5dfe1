"""The papers' recipes for images, as data.

Where a paper and its released code differ, there are two, NAME.paper and NAME.code. The learning
rate of MambaOut on ImageNet is for a batch of 4,096; it grows with the batch.
"""

from collections.abc import Mapping
from dataclasses import replace

from audiomamba.errors import UnknownNameError
from audiomamba.vision.data.mixtures import FRONT_END
from audiomamba.vision.training.recipe import Augmentation, ImageRecipe

__all__ = ["RECIPES", "get_recipe"]

IMAGENET_IMAGES = 1_281_167
COCO_IMAGES = 117_266  # with an object
VIM = "Zhu et al., Vision Mamba (2024)"
MAMBAOUT = "Yu and Wang, MambaOut (2024)"

_CROP = Augmentation(size=(512, 512), scale=(0.5, 2.0), base=(2048, 512), colour=0.25)
_JITTER = Augmentation(size=(1024, 1024), scale=(0.1, 2.0))
_DEIT = Augmentation(
    size=(224, 224),
    resize="random-area",
    colour=0.3,
    rand_augment=9,
    erase=0.25,
    mixup=0.8,
    cutmix=1.0,
)


def _epochs(n: int, images: int, batch: int) -> int:
    return n * (images // batch)


_SEGMENT = ImageRecipe(
    task="segment",
    model="vim_tiny_upernet",
    augmentation=_CROP,
    steps=160_000,
    batch_size=16,
    learning_rate=6e-5,
    weight_decay=0.01,
    window=512,
    window_stride=341,
    source=f"{VIM}, section 4.2",
)
_SEGMENT_CODE = _SEGMENT.changed(
    steps=60_000,
    batch_size=32,
    learning_rate=2e-4,
    weight_decay=0.1,
    layer_decay=0.92,
    decayed_layers="embeddings",
    source=f"{VIM}, released code: layer decay is meant for all layers and misses the blocks",
)
_DETECT = ImageRecipe(
    task="detect",
    model="vim_tiny_cascade_mask_rcnn",
    augmentation=_JITTER,
    steps=380_000,
    batch_size=64,
    learning_rate=1e-4,
    weight_decay=0.1,
    warmup_steps=250,
    source=f"{VIM}, section 4.3",
)
_DETECT_CODE = _DETECT.changed(
    steps=184_375,
    layer_decay=0.837,
    schedule="steps",
    drops=(0.889, 0.963),
    source=f"{VIM}, released code",
)
_CLASSIFY = ImageRecipe(
    task="classify",
    model="vim_tiny",
    augmentation=replace(_DEIT, repeats=3),
    steps=_epochs(300, IMAGENET_IMAGES, 1024),
    batch_size=1024,
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=_epochs(5, IMAGENET_IMAGES, 1024),
    smoothing=0.1,
    ema=0.99996,
    source=f"{VIM}, section 4.1",
)
_LONG_SEQUENCE = _CLASSIFY.changed(
    changes={"stride": (8, 8)},
    steps=_epochs(30, IMAGENET_IMAGES, 1024),
    learning_rate=1e-5,
    weight_decay=1e-8,
    warmup_steps=0,
    source=f"{VIM}, section 4.1 and released code: fine-tuning with patches that overlap",
)
_MAMBAOUT = _CLASSIFY.changed(
    model="mambaout_tiny_224",
    steps=_epochs(300, IMAGENET_IMAGES, 4096),
    augmentation=_DEIT,
    batch_size=4096,
    learning_rate=4e-3,
    warmup_steps=_epochs(20, IMAGENET_IMAGES, 4096),
    ema=0.0,
    source=f"{MAMBAOUT}, table 5",
)
_MAMBAOUT_SEGMENT = _SEGMENT.changed(
    model="mambaout_tiny_upernet",
    learning_rate=1e-4,
    window=None,
    window_stride=None,
    source=f"{MAMBAOUT}, section 4.4",
)
_MAMBAOUT_DETECT = _DETECT.changed(
    model="mambaout_tiny_mask_rcnn",
    augmentation=Augmentation(size=(1344, 1344), base=(1333, 800)),
    steps=_epochs(12, COCO_IMAGES, 16),
    batch_size=16,
    weight_decay=0.05,
    schedule="steps",
    drops=(8 / 12, 11 / 12),
    warmup_steps=500,
    source=f"{MAMBAOUT}, section 4.3",
)

_SMALL = {"depths": (1, 1, 2, 1), "dims": (32, 64, 96, 128), "drop_path": 0.0}
_SHAPES = ImageRecipe(
    task="segment",
    model="mambaout_femto_upernet",
    changes={"dim": 64, "aux_dim": 64, "backbone": _SMALL},
    augmentation=Augmentation(size=(96, 96)),
    steps=1500,
    batch_size=8,
    learning_rate=2e-3,
    warmup_steps=50,
    source="for trying out, on images that are drawn",
)

_SOUNDS = _SHAPES.changed(
    task="segment-sound",
    changes={
        "dim": 64,
        "aux_dim": 64,
        "backbone": {
            **_SMALL,
            "n_channels": 1,
            "n_mels": FRONT_END.n_mels,
            "n_frames": FRONT_END.n_frames,
        },
    },
    augmentation=Augmentation(size=(FRONT_END.n_mels, FRONT_END.n_frames), flip=0.0),
    steps=600,
    batch_size=4,
    front_end=FRONT_END,
    source="for trying out, on mixtures of sounds that are drawn",
)

_SHAPES_DETECT = _SHAPES.changed(
    task="detect",
    model="mambaout_femto_mask_rcnn",
    changes={"dim": 64, "n_proposals": 200, "n_sampled": 64, "backbone": _SMALL},
    steps=500,
    batch_size=4,
    learning_rate=1e-3,
)

RECIPES: Mapping[str, ImageRecipe] = {
    "ade20k/vim_tiny.paper": _SEGMENT,
    "ade20k/vim_tiny.code": _SEGMENT_CODE,
    "ade20k/vim_small.paper": _SEGMENT.changed(model="vim_small_upernet"),
    "ade20k/vim_small.code": _SEGMENT_CODE.changed(
        model="vim_small_upernet", learning_rate=1e-4, weight_decay=0.05, layer_decay=0.95
    ),
    "ade20k/deit_tiny": _SEGMENT.changed(model="deit_tiny_upernet"),
    "ade20k/deit_small": _SEGMENT.changed(model="deit_small_upernet"),
    "coco/vim_tiny.paper": _DETECT,
    "coco/vim_tiny.code": _DETECT_CODE,
    "shapes/segment": _SHAPES,
    "shapes/detect": _SHAPES_DETECT,
    "sounds/segment": _SOUNDS,
    "camvid/small": _SHAPES.changed(
        augmentation=Augmentation(size=(120, 160), base=(160, 120), scale=(0.75, 1.5), colour=0.2),
        steps=350,
        source="for trying out on a CPU, from scratch, with small images",
    ),
    "penn_fudan/small": _SHAPES_DETECT.changed(
        augmentation=Augmentation(size=(128, 128), scale=(0.8, 1.25), colour=0.2),
        steps=300,
        source="for trying out on a CPU, from scratch, with small images",
    ),
    "imagenet/small": _MAMBAOUT.changed(
        model="mambaout_femto_224",
        changes={"depths": (2, 2), "dims": (64, 128), "drop_path": 0.0},
        augmentation=Augmentation(size=(32, 32), resize="random-area", colour=0.2, mixup=0.2),
        steps=600,
        batch_size=64,
        learning_rate=2e-3,
        warmup_steps=50,
        source="for trying out on a CPU, from scratch, with small images",
    ),
    "imagenet/vim_tiny": _CLASSIFY,
    "imagenet/vim_small": _CLASSIFY.changed(model="vim_small", changes={"drop_path": 0.05}),
    "imagenet/vim_tiny_stride8": _LONG_SEQUENCE,
    "imagenet/vim_small_stride8": _LONG_SEQUENCE.changed(model="vim_small"),
    **{
        f"ade20k/mambaout_{size}": _MAMBAOUT_SEGMENT.changed(model=f"mambaout_{size}_upernet")
        for size in ("tiny", "small", "base")
    },
    **{
        f"coco/mambaout_{size}": _MAMBAOUT_DETECT.changed(model=f"mambaout_{size}_mask_rcnn")
        for size in ("tiny", "small", "base")
    },
    **{
        f"imagenet/mambaout_{size}": _MAMBAOUT.changed(model=f"mambaout_{size}_224")
        for size in ("femto", "kobe", "tiny", "small", "base")
    },
    "imagenet/vim_tiny_sequence": _CLASSIFY.changed(
        changes={"direction": "fo-fo"}, augmentation=replace(_CLASSIFY.augmentation, reverse=0.5)
    ),
    **{
        f"imagenet/vim_tiny_{direction}": _CLASSIFY.changed(changes={"direction": direction})
        for direction in ("fo-fo", "alternating", "fo-bi", "bi-bi")  # table 4
    },
}


def get_recipe(name: str) -> ImageRecipe:
    """Return a recipe.

    Args:
        name: one of RECIPES.

    Returns:
        The recipe.

    Raises:
        UnknownNameError: there is no such recipe; the message offers the nearest names.

    Examples:
        >>> get_recipe("imagenet/mambaout_tiny").batch_size
        4096
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]
