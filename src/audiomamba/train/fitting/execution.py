"""How a run is executed, in contrast to what it learns."""

from importlib.util import find_spec
from typing import TypedDict

from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.recipes import Recipe
from audiomamba.train.fitting import processes

__all__ = ["Execution", "complete"]


class Execution(TypedDict, total=False):
    """How a run is executed; only a limit of time changes what comes out.

    Attributes:
        n_threads: processor threads; None to leave them as they are.
        n_workers: processes that prepare clips; 0 to do it in this one. The result is the same.
        save_every_s: the state is saved when so many seconds have passed since it was last, and
            after every epoch; 0 or more.
        budget_s: seconds after which the last step is done, those of earlier calls included: on a
            machine too slow for all epochs the run goes through its schedule faster, and ends
            within an epoch. None for all epochs.
        shard: whether each of several processes keeps only its share of the weights, of their
            average and of the optimizer's averages: less memory, more traffic. What is saved is
            complete all the same, and a run may be resumed the other way.
        mirror: where a copy of the run is kept, s3://... or gs://..., which a machine whose folder
            is empty goes on from; None for none.
        wandb: project of Weights & Biases that gets the curves too; None for none.
        progress: whether to show a progress bar.

    Examples:
        >>> Execution(n_threads=2, budget_s=600.0)["n_threads"]
        2
    """

    n_threads: int | None
    n_workers: int
    save_every_s: float
    budget_s: float | None
    shard: bool
    mirror: str | None
    wandb: str | None
    progress: bool


DEFAULTS: Execution = {
    "n_threads": None,
    "n_workers": 0,
    "save_every_s": 300.0,
    "budget_s": None,
    "shard": False,
    "mirror": None,
    "wandb": None,
    "progress": True,
}


def complete(given: Execution, recipe: Recipe) -> Execution:
    """Add what was not said, and refuse what cannot work, before anything is read.

    Args:
        given: what was said.
        recipe: what is executed.

    Returns:
        All settings.

    Raises:
        TypeError: there is no such setting.
        MissingDependencyError: Lightning, or wandb if it is asked for, is not installed.
        ConfigError: a setting cannot work.
    """
    for name in given.keys() - DEFAULTS.keys():
        raise TypeError(f"fit() got an unexpected keyword argument {name!r}")
    execution: Execution = {**DEFAULTS, **given}
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
    if execution["wandb"] is not None and find_spec("wandb") is None:
        raise MissingDependencyError("wandb", "wandb", "sending curves to Weights & Biases")
    save_every_s, budget_s = execution["save_every_s"], execution["budget_s"]
    if not save_every_s >= 0:
        raise ConfigError(f"save_every_s is {save_every_s}; expected seconds, 0 or more")
    if budget_s is not None and not budget_s > 0:
        raise ConfigError(f"budget_s is {budget_s}; expected seconds, more than 0")
    if execution["shard"] and processes.started_together() == 1:
        raise ConfigError(
            "shard is set, but this process is alone; start several with torchrun, or leave it out"
        )
    if execution["shard"] and recipe.precision == "float16":
        raise ConfigError(
            "precision is 'float16', whose gradients are not scaled across sharded weights; "
            "set it to 'bfloat16' or 'float32', or leave shard out"
        )
    return execution
