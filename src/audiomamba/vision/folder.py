"""Folders of trained models of images: config.json and model.safetensors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from audiomamba.atomic import replacing, write_json
from audiomamba.config import from_plain, to_plain
from audiomamba.errors import CheckpointError, ConfigError
from audiomamba.vision.training.recipe import ImageRecipe
from audiomamba.vision.training.tasks import TASKS

__all__ = ["ImageModel", "load_images", "save_images"]

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class ImageModel:
    """A trained model of images.

    Args:
        model: the network, in evaluation mode.
        recipe: how it was trained, which says how images are given to it.
        labels: the names of its classes.

    Examples:
        >>> from torch import nn
        >>> from audiomamba.vision.training.recipes import get_recipe
        >>> ImageModel(nn.Identity(), get_recipe("shapes/segment"), ["ground", "disc"]).labels
        ['ground', 'disc']
    """

    model: nn.Module
    recipe: ImageRecipe
    labels: list[str]


def save_images(folder: Path, found: ImageModel) -> None:
    """Write a model folder.

    Args:
        folder: where to; made if it is not there.
        found: the model.

    Raises:
        OSError: it cannot be written.

    Examples:
        >>> from audiomamba.vision.training.recipes import get_recipe
        >>> recipe = get_recipe("shapes/segment")
        >>> model = TASKS[recipe.task](recipe, 2).new_model()
        >>> save_images(Path("mine"), ImageModel(model, recipe, ["ground", "disc"]))
        >>> load_images(Path("mine")).labels
        ['ground', 'disc']
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as part:
        save_file({name: w.contiguous() for name, w in found.model.state_dict().items()}, part)
    about: dict[str, Any] = {
        "format": FORMAT,
        "kind": "images",
        "recipe": to_plain(found.recipe),
        "labels": found.labels,
    }
    write_json(folder / CONFIG, about)


def load_images(folder: Path) -> ImageModel:
    """Read a model folder.

    Args:
        folder: as `save_images` writes it.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: a file is missing, damaged, or of another kind of model.

    Examples:
        >>> load_images(Path("nothing"))
        Traceback (most recent call last):
        audiomamba.errors.CheckpointError: nothing...
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    try:
        about = json.loads(config.read_text(encoding="utf-8"))
        if about.get("kind") != "images":
            raise CheckpointError(f"{folder}: is no model of images")
        recipe = from_plain(ImageRecipe, about["recipe"])
        labels = [str(label) for label in about["labels"]]
        model = TASKS[recipe.task](recipe, len(labels)).new_model()
        model.load_state_dict(load_file(weights))
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename}: is not there; expected a model folder") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{weights}: cannot be read: {_line(error)}") from error
    except (KeyError, TypeError, AttributeError, ConfigError, ValueError) as error:
        raise CheckpointError(f"{config}: is not what it should be: {_line(error)}") from error
    return ImageModel(model.eval(), recipe, labels)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
