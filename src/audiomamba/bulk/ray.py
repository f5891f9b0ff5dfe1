"""Workers on a Ray cluster: Ray starts them, and starts them again where a machine is lost.

Ray writes nothing and knows nothing of files. Each of its tasks works on a share of the plan as
`audiomamba bulk run --shard` does; one that is started again skips what is done.
"""

from collections.abc import Callable
from dataclasses import asdict, astuple, fields
from typing import Any

from audiomamba.bulk.launch import Progress, Share, launch
from audiomamba.bulk.plan import Plan
from audiomamba.bulk.worker import WorkerOptions
from audiomamba.errors import ConfigError, MissingDependencyError

__all__ = ["launch_on_ray"]

SHARES_PER_CPU = 4  # so that the last tasks to end are short
POLL_S = 2.0


def launch_on_ray(
    plan: Plan,
    address: str,
    share: Share,
    *,
    options: WorkerOptions,
    tell: Callable[[Progress], None],
) -> Progress:
    """Compute the parts of a share that are not done yet, by a Ray cluster that exists.

    Args:
        plan: the plan, where all machines of the cluster can read and write it.
        address: of the cluster, or "auto" for the one that this machine is in.
        share: which parts.
        options: how workers work; a task takes as many of Ray's CPUs as a worker has threads.
        tell: called with the progress, now and then.

    Returns:
        What was done.

    Raises:
        ConfigError: there is no such cluster; or a task failed.
        MissingDependencyError: ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("ray", "ray", "--ray") from error
    try:
        ray.init(address=address, logging_level="warning", log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"--ray {address}: no cluster answers: {reason}") from error
    try:
        return _run(ray, plan, share, options, tell)
    finally:
        ray.shutdown()


def _run(
    ray: Any,
    plan: Plan,
    share: Share,
    options: WorkerOptions,
    tell: Callable[[Progress], None],
) -> Progress:
    """Start a task for each of many shares, and wait for all."""
    n_cpus = int(ray.cluster_resources().get("CPU", 1))
    n_tasks = min(plan.n_parts, SHARES_PER_CPU * n_cpus)
    resources = {"num_cpus": options.n_threads}
    if options.device != "cpu":
        resources["num_gpus"] = 1
    task = ray.remote(**resources, max_retries=-1, name="audiomamba bulk run")(_work)
    waiting = [
        task.remote(
            plan.storage.address,
            (share.index + share.of * number, share.of * n_tasks),
            asdict(options),
        )
        for number in range(n_tasks)
    ]
    progress = Progress(0)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=POLL_S)
        for one in ready:
            try:
                _add(progress, Progress(*ray.get(one)))
            except ray.exceptions.RayError as error:
                reason = str(getattr(error, "cause", None) or error)
                raise ConfigError(" ".join(reason.split())) from error
            tell(progress)
    return progress


def _work(address: str, share: tuple[int, int], options: dict[str, Any]) -> tuple[int, ...]:
    """What a task does; returns what it has done."""
    done = launch(Plan.open(address), Share(*share), options=WorkerOptions(**options))
    return astuple(done)


def _add(progress: Progress, done: Progress) -> None:
    """Count what a task has done."""
    for field in fields(Progress):
        setattr(progress, field.name, getattr(progress, field.name) + getattr(done, field.name))
