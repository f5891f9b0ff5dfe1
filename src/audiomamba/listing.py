"""The models as text: the list of all, and what is known of one."""

from dataclasses import asdict
from pathlib import Path

from audiomamba import checkpoints, counting, models, recipes
from audiomamba.errors import UnknownNameError
from audiomamba.hub import RELEASED_BY_NAME, HubAddress, Released, released_of
from audiomamba.recipes import ablations
from audiomamba.terminal import format_table

__all__ = ["describe_model", "list_models", "list_recipes", "list_released"]


def list_models() -> str:
    """List the models that ship with weights, the released ones, and all that can be made.

    Returns:
        Three tables, each with a title that says what to do with its models.
    """
    lines = (
        "Shipped with weights: audiomamba tag --model NAME",
        _indented(format_table(_shipped(), "<>>><")),
        list_released().rstrip("\n"),
        "All models; MACs for 10 s of sound or one image: audiomamba models NAME",
        _indented(format_table(_all(), "<>>><")),
    )
    return "\n".join(lines)


def list_released(pattern: str = "*") -> str:
    """List released weights.

    Args:
        pattern: names of weights or of models, in which * stands for anything.

    Returns:
        A table, with a title that says what to do with them.

    Raises:
        UnknownNameError: there are none of such a name.

    Examples:
        >>> print(list_released("cnn14_audioset"))
        Released weights: audiomamba tag --model NAME fetches them from the hub or web;
          a page links files to get by hand; who reports what: audiomamba models NAME
          name            reported, %  license  from
          cnn14_audioset  mAP 43.10    MIT      web
        <BLANKLINE>
    """
    found = released_of(pattern)
    if not found:
        raise UnknownNameError("released weights", pattern, RELEASED_BY_NAME)
    rows: list[tuple[str, ...]] = [("name", "reported, %", "license", "from")]
    rows += [(it.name, _figure(it), it.license, _from(it)) for it in found]
    return "\n".join(
        (
            "Released weights: audiomamba tag --model NAME fetches them from the hub or web;",
            "  a page links files to get by hand; who reports what: audiomamba models NAME",
            _indented(format_table(rows, "<<<<")),
        )
    )


def list_recipes() -> str:
    """List the recipes, and the tables of papers whose cells can be trained.

    Returns:
        Two tables, each with a title that says what to do with what it lists.
    """
    rows: list[tuple[str, ...]] = [("name", "model", "starts from", "epochs", "batch")]
    rows += [
        (name, it.model, it.init or "-", str(it.epochs), str(it.batch_size))
        for name, it in ((name, recipes.get(name)) for name in recipes.names())
    ]
    tables: list[tuple[str, ...]] = [("name", "cells", "by the recipe", "compares")]
    tables += [
        (name, str(len(it.cells)), it.base, it.about)
        for name, it in ((name, ablations.get(name)) for name in ablations.names())
    ]
    lines = (
        "Recipes: audiomamba train NAME --data DIR --out DIR",
        _indented(format_table(rows, "<<<>>")),
        "Tables of papers: audiomamba train [RECIPE] --ablation NAME --data DIR --out DIR",
        _indented(format_table(tables, "<><<")),
    )
    return "\n".join(lines)


def describe_model(name_or_folder: str) -> str:
    """Say all that is known of a model.

    Args:
        name_or_folder: a model that ships with the package or was released, one of models.names(),
            or a folder. Nothing is fetched for it.

    Returns:
        Its facts, its settings, those of its front end and its layers, one per line.

    Raises:
        UnknownNameError: there is no such model or folder.
        CheckpointError: the folder is damaged or holds something else.

    Examples:
        >>> describe_model("aum_tiny").splitlines()[0]
        'model aum_tiny'
    """
    released = RELEASED_BY_NAME.get(name_or_folder)
    if released is not None:
        return "\n".join([*_released_facts(released), describe_model(released.model)])
    if name_or_folder in models.names():
        config = counting.at_standard_size(models.MODELS[name_or_folder])
        return "\n".join([f"model {name_or_folder}", *_settings(config), *_layers(config)])
    found = checkpoints.load(_find(name_or_folder))
    config = found.model.config
    facts = {
        "name": found.name,
        "folder": checkpoints.find(name_or_folder),
        "parameters": _size(found.model),
        "window": f"{found.front_end.clip_s:.2f} s" if found.front_end else "images",
        "scores": found.scores,
        "license": found.license,
        "labels": ", ".join(found.labels),
    }
    lines = [format_table(_texts(facts | dict(found.notes)), "<<"), "model", *_settings(config)]
    if found.front_end:
        lines += ["front end", _indented(format_table(_texts(asdict(found.front_end)), "<<"))]
    return "\n".join([*lines, *_layers(config)])


def _shipped() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("name", "parameters", "window", "labels", "license")]
    for name in checkpoints.packaged():
        found = checkpoints.load(checkpoints.find(name))
        window = f"{found.front_end.clip_s:.1f} s" if found.front_end else "images"
        n_labels = str(len(found.labels))
        rows.append((name, _size(found.model), window, n_labels, found.license))
    return rows


def _figure(record: Released) -> str:
    """What is reported of released weights."""
    return "-" if record.score is None else f"{record.metric} {record.score:.2f}"


def _corpus(record: Released) -> str:
    """What released weights were trained on."""
    return "sound without labels" if record.corpus == "none" else record.corpus


def _from(record: Released) -> str:
    """Where released weights come from, in a word."""
    if record.location is None:
        return "page"
    return "hub" if isinstance(record.location, HubAddress) else "web"


def _released_facts(record: Released) -> list[str]:
    """What the registry knows of released weights."""
    facts: dict[str, object] = {
        "model": record.model,
        "trained on": f"{_corpus(record)}, from {record.start}",
        "reported": f"{_figure(record)} ({record.source})",
        "license": record.license,
        "address": record.address,
        "revision": record.revision if record.repo else None,
        "file": " or ".join(record.files) or "linked on that page",
        "size": f"{record.size:,} bytes" if record.size else "unknown",
        "sha256": record.hash_text,
        "read as": record.origin,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    return [f"released weights {record.name}", _indented(format_table(_texts(known), "<<"))]


def _all() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("name", "parameters", "MACs", "input", "weights under")]
    for name in models.names():
        config = counting.at_standard_size(models.MODELS[name])
        found = counting.count(config)
        rows.append(
            (
                name,
                _millions(found.n_parameters),
                _billions(found.macs),
                f"{config.n_mels}x{config.n_frames}",
                _license(name),
            )
        )
    return rows


def _license(name: str) -> str:
    """The licence of the weights that somebody released for a model; "-" if nobody did."""
    licenses = {origin.name: origin.license for origin in checkpoints.ORIGINS}
    owner = models.MODELS[name].weights_from
    return licenses[owner] if owner else "-"


def _find(name_or_folder: str) -> Path:
    try:
        return checkpoints.find(name_or_folder)
    except UnknownNameError:
        known = [*checkpoints.packaged(), *RELEASED_BY_NAME, *models.names()]
        raise UnknownNameError("model or model folder", name_or_folder, known) from None


def _settings(config: models.ModelConfig) -> list[str]:
    return [_indented(format_table(_texts(asdict(config)), "<<"))]


def _layers(config: models.ModelConfig) -> list[str]:
    """The layers as a table, its sums, and whether the sequence is a long one."""
    rows: list[tuple[str, ...]] = [("module", "output", "parameters", "MACs")]
    for layer in counting.count_layers(config):
        alike = f" ({layer.n_alike} x)" if layer.n_alike > 1 else ""
        rows.append(
            (
                "  " * layer.depth + layer.name + alike,
                "x".join(map(str, layer.output)),
                f"{layer.n_parameters:,}",
                f"{layer.macs:,}",
            )
        )
    total = counting.count(config)
    rows.append(("all", "", f"{total.n_parameters:,}", f"{total.macs:,}"))
    size = f"{config.n_mels}x{config.n_frames}"
    lengths: list[tuple[str, ...]] = [("tokens", "long from tau = 6 x width on", "")]
    lengths += [
        (str(it.n_tokens), str(it.threshold), "long" if it.n_tokens > it.threshold else "short")
        for it in counting.sequences(config)
    ]
    return [
        f"layers, for one input of {size}",
        _indented(format_table(rows, "<<>>")),
        "sequence of each stage" if len(lengths) > 2 else "sequence",
        _indented(format_table(lengths, ">><")),
    ]


def _size(model: models.AudioModel) -> str:
    """How many numbers a model learns."""
    return _millions(sum(value.numel() for value in model.parameters()))


def _millions(n: int) -> str:
    return f"{n / 1e6:.2f} M"


def _billions(n: int) -> str:
    return f"{n / 1e9:.2f} G"


def _texts(facts: dict[str, object]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in facts.items()]


def _indented(text: str) -> str:
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))
