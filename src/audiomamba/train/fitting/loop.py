"""The loop: epochs and steps. Devices, processes and precision are Lightning Fabric's."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.fabric.wrappers import _FabricModule
from torch import Tensor
from tqdm import tqdm

from audiomamba.data import Example
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.checkpointer import Checkpointer
from audiomamba.train.fitting.devices import new_fabric, synchronize_batch_norms
from audiomamba.train.fitting.early_stop import gains_nothing
from audiomamba.train.fitting.execution import Execution
from audiomamba.train.fitting.interruption import interruptible
from audiomamba.train.fitting.loader import TrainingBatches
from audiomamba.train.fitting.loggers import open_loggers
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.optimization import Optimization
from audiomamba.train.fitting.schedule_clock import ScheduleClock
from audiomamba.train.fitting.state import Position

__all__ = ["Loop"]

SHOWN = ("loss", "accuracy", "ema_accuracy", "swa_accuracy")  # beside the progress bar


class Loop:
    """A run on its way from the beginning or a saved state to the end.

    Args:
        module: the model in training; its weights are those of the state afterwards.
        batches: what it is trained on.
        checkpointer: evaluates, writes and saves.
        execution: how the run is executed.
        clock: says where in its schedule the run is; None to go by its steps.
        saved: the saved state; None for the beginning.
    """

    def __init__(
        self,
        module: TrainingModule,
        batches: TrainingBatches,
        checkpointer: Checkpointer,
        *,
        execution: Execution,
        clock: ScheduleClock | None,
        saved: Mapping[str, Any] | None,
    ) -> None:
        self.module, self.batches, self.checkpointer = module, batches, checkpointer
        self.execution, self.recipe = execution, module.recipe
        self.is_sharded = execution["shard"]
        if saved is not None:
            module.load_state_dict(saved["state_dict"])
        self.fabric = new_fabric(module.precision)
        self.loss_of = self._set_up()
        self.optimization = Optimization(
            module, batches.n_steps, clock=clock, is_sharded=self.is_sharded, saved=saved
        )

    def run(self, position: Position) -> None:
        """Train to the end.

        Args:
            position: where the run is.

        Raises:
            TrainingError: the loss is not finite, or the run was interrupted.
        """
        self.module.train()
        self.checkpointer.resume(position)
        run, epoch = self.checkpointer.run, position.epochs
        with interruptible(run, self.recipe.epochs), open_loggers(run, self.execution) as loggers:
            while epoch < self.recipe.epochs and not self._is_over():
                line = self._epoch(epoch, position if epoch == position.epochs else None)
                for logger in loggers:
                    logger.log_metrics(line, step=epoch + 1)
                epoch += 1
                self.checkpointer.save(self.optimization.state(Position(epochs=epoch)))
        if self.is_sharded:
            self.module.gather()
        self.module.cpu()

    def _epoch(self, epoch: int, position: Position | None) -> dict[str, float]:
        """One epoch, or the rest of it; its metrics."""
        done = position or Position(epochs=epoch)
        module, checkpointer = self.module, self.checkpointer
        module.start_epoch(epoch, done.loss_sum, done.steps)
        with self._bar(epoch, done.steps) as bar:
            for index, batch in enumerate(self.batches.of_epoch(epoch), done.steps):
                if index and index % self.recipe.accumulate == 0 and checkpointer.is_due():
                    here = Position(
                        epochs=epoch,
                        steps=index,
                        loss_sum=module.loss_sum,
                        seconds=checkpointer.spent_s(),
                    )
                    checkpointer.save(self.optimization.state(here))
                self._batch(self.fabric.to_device(batch), index)
                bar.update()
                if self.optimization.is_over:
                    break
        module.end_epoch()
        is_last = epoch + 1 == self.recipe.epochs or self.optimization.is_over
        return checkpointer.end_epoch(module, self.optimization.learning_rate, is_last=is_last)

    def _batch(self, batch: Example, index: int) -> None:
        """The gradients of one batch, and a step of the optimizer if it completes one."""
        is_step = self.module.ends_step(index)
        with self._alone() if not is_step else nullcontext():
            loss = self._loss(batch, index)
            self.fabric.backward(loss / self.recipe.accumulate)
        if is_step:
            self.optimization.step()
        self.module.end_batch(index)

    def _loss(self, batch: Example, index: int) -> Tensor:
        """The loss of one batch."""
        with self.fabric.autocast():
            loss: Tensor = self.loss_of(batch, index)
        return loss

    def _alone(self) -> AbstractContextManager[Any]:
        """Where gradients are not averaged over the processes, as more will be added to them."""
        if processes.n_processes() == 1 or not isinstance(self.loss_of, _FabricModule):
            return nullcontext()
        return self.fabric.no_backward_sync(self.loss_of)

    def _set_up(self) -> TrainingModule | _FabricModule:
        """Bring the model to its device; what computes a loss so that processes stay together."""
        synchronize_batch_norms(self.module)
        if not self.is_sharded:
            return self.fabric.setup_module(self.module)
        from audiomamba.train.fitting.sharding import shard_training

        self.module.to(self.fabric.device)
        shard_training(self.module, self.fabric.device.type)
        return self.module

    def _is_over(self) -> bool:
        """Whether the run ends before its last epoch."""
        patience, best_by = self.recipe.patience, self.recipe.best_by
        if patience is None:
            return self.optimization.is_over
        run = self.checkpointer.run
        return processes.from_first(
            lambda: self.optimization.is_over or gains_nothing(run.epochs(), best_by, patience)
        )

    def _bar(self, epoch: int, n_done: int) -> "tqdm[Any]":
        """A bar for one epoch, with the last epoch's metrics beside it."""
        quiet = not self.execution["progress"] or processes.rank() > 0
        bar = tqdm(
            total=self.batches.n_steps,
            initial=n_done,
            desc=f"epoch {epoch + 1} of {self.recipe.epochs}",
            unit="step",
            leave=False,
            disable=quiet,
        )
        for line in [] if quiet else self.checkpointer.run.epochs()[-1:]:
            bar.set_postfix({name: f"{line[name]:.3f}" for name in SHOWN if name in line})
        return bar
