"""The training loop: it dispatches, saves, evaluates and reports; it owns no state."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax

from alexnet_jax.backend import memory
from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights.fit import Weights
from alexnet_jax.train import (
    checkpoint,
    health,
    lock,
    rollback,
    run_card,
    saved_weights,
    start,
    starting_weights,
    trained_run,
)
from alexnet_jax.train.checkpoint_writer import Checkpoints
from alexnet_jax.train.clock import Clock
from alexnet_jax.train.console import RunConsole, eval_line, print_results
from alexnet_jax.train.dry_run import expected_memory_bytes
from alexnet_jax.train.evaluate import evaluate
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.health import NonFiniteError
from alexnet_jax.train.metrics import Averages
from alexnet_jax.train.opening import opening
from alexnet_jax.train.pictures import Pictures
from alexnet_jax.train.plateau import Plateau
from alexnet_jax.train.stall import StallWatch
from alexnet_jax.train.state import TrainState
from alexnet_jax.train.stopping import Stopped, StopRequest
from alexnet_jax.train.windows import TrainReport, broken_images, share_broken_images
from alexnet_jax.train.writers import CONFIG_FILE, MetricsWriter, NoWriter, write_json


def train(
    experiment: Experiment, workdir: Path, *, recipe: str = "", quiet: bool = False
) -> Averages:
    """Trains to the end, from the newest checkpoint of ``workdir`` where there is one.

    Args:
      experiment: To run.
      workdir: Where everything is written.
      recipe: The file of the settings, to be named on the screen; empty for none.
      quiet: Prints nothing but the last evaluation.

    Returns:
      The last evaluation.

    Raises:
      RequestError: If ``workdir`` belongs to another model, or another run is at work there; it is left as it was.
      RunError: If the run cannot go on.
      Stopped: If a signal stopped it, after it saved.
    """
    with lock.hold_together(workdir) as taken_over, StopRequest() as stop:
        newest = checkpoint.latest_step(workdir, set_aside=True)
        rollbacks = rollback.count(workdir, newest or 0)
        notes = [taken_over] if taken_over else []
        event: dict[str, Any] = {}
        while True:
            slower = rollback.rebuild(experiment, rollbacks) if rollbacks else experiment
            if rollbacks:
                notes.append(rollback.note(experiment.config.health, rollbacks))
            try:
                return _train(
                    *(slower, workdir, newest, stop),
                    recipe=recipe,
                    quiet=quiet,
                    notes=notes,
                    event=event,
                )
            except NonFiniteError as fault:
                rollbacks += 1
                event = rollback.event(experiment.config.health, fault, rollbacks)
                notes = [f"{fault}"]
                newest = checkpoint.latest_step(workdir, set_aside=True)
                if newest is not None and fault.step == newest + 1:
                    # The same step from the same state would end the same, at any learning rate.
                    newest = checkpoint.leave_diverged(workdir, newest)


def _train(
    experiment: Experiment,
    workdir: Path,
    newest: int | None,
    stop: StopRequest,
    *,
    recipe: str,
    quiet: bool,
    notes: list[str],
    event: dict[str, Any],
) -> Averages:
    """Trains once from the newest checkpoint, None for none; says ``notes`` and records ``event`` before."""
    clock = Clock()
    with clock.measure("start"):
        state, start_step, origin = start.starting_point(experiment, workdir, newest)
        start.free_unused(experiment.initial_state, state)
    card, changed = None, []
    if start_step == experiment.total_steps:
        card = run_card.finished(workdir, start_step, notes)
    if start_step:
        changed = run_card.changed_settings(experiment.config.to_dict(), workdir, notes)
    leader = jax.process_index() == 0  # writes and prints; checkpoints are written together
    if leader:
        workdir.mkdir(parents=True, exist_ok=True)
        settings = experiment.config.to_dict() if card is None else card["config"]
        write_json(workdir / CONFIG_FILE, settings)
        trained_run.write_classes(workdir, experiment.sources["train"].class_names)
    checkpoints = Checkpoints(
        workdir,
        experiment.identity,
        keep=experiment.config.checkpoint.keep,
        keep_best=experiment.config.checkpoint.keep_best,
        max_failed_saves=experiment.config.checkpoint.max_failed_saves,
    )
    device = run_card.device_line(experiment.devices)
    writer = MetricsWriter(workdir, start_step, device) if leader else NoWriter()
    try:
        with RunConsole(experiment.total_steps, start_step, quiet=quiet or not leader) as console:
            with clock.measure("start"):
                lines = opening(experiment, workdir, recipe, start_step, changed)
            for line in (*notes, *lines, *origin):
                console.say(line)
            pictures = Pictures(experiment, writer) if isinstance(writer, MetricsWriter) else None
            run = _Run(experiment, clock, checkpoints, writer, console, pictures, stop)
            if event:
                run.event(start_step, event)
            final = run.train(state, start_step)
    except NonFiniteError as fault:
        run.event(fault.step, fault.event)
        raise
    finally:
        try:
            with clock.measure("checkpoint"):
                checkpoints.close()
        finally:
            writer.close()
    checkpoints.require_saved()

    if leader and card is None:
        time_split = clock.split_seconds()
        card = run_card.make(
            config=experiment.config.to_dict(),
            devices=experiment.devices,
            precision=experiment.precision,
            parallelism=experiment.parallelism,
            fingerprints={
                split: source.fingerprint() for split, source in experiment.sources.items()
            },
            broken_images={split: broken.count for split, broken in experiment.broken.items()},
            start_step=start_step,
            stop_step=experiment.total_steps,
            time_split=time_split,
            images=(experiment.total_steps - start_step) * experiment.config.batch_size,
            expected_memory_bytes=run.memory_bytes,
            final=final,
        )
        write_json(workdir / run_card.RUN_CARD_FILE, card)
    if leader and card is not None:
        if not quiet:
            config = experiment.config
            print_results(
                final, card["images_per_second"], config.published, config.model.num_classes
            )
        print(eval_line(experiment.total_steps, final), flush=True)
    return final


def evaluate_only(experiment: Experiment, workdir: Path) -> Averages:
    """Evaluates ``init_weights``, or the newest checkpoint of ``workdir``, and changes nothing there.

    Only weights are read, so that the optimizer, schedule and precision need not be those of the training.

    Raises:
      RequestError: If it has none, or one of another model.
    """
    config, identity = experiment.config, experiment.identity

    def read(source: Path) -> Weights:
        return starting_weights.read(source, identity, use_ema=config.eval.use_ema)

    if config.init_weights:
        source, step = Path(config.init_weights), 0
        if source.is_dir():
            run, step = saved_weights.locate(source)
            source = run / checkpoint.DIRECTORY / str(step)
        try:
            weights = read(source)
        except RequestError as error:
            if checkpoint.latest_step(workdir) is None:
                raise
            raise RequestError(
                f"leave out init_weights to evaluate the run in {workdir}; the weights it names do not fit: {error}"
            ) from error
    else:
        checkpoints = workdir / checkpoint.DIRECTORY
        newest = checkpoint.read_newest(workdir, lambda step: (step, read(checkpoints / str(step))))
        if newest is None:
            raise RequestError(
                f"{workdir} holds no checkpoint to evaluate; train first, or name another --workdir."
            )
        source, (step, weights) = workdir, newest
    if jax.process_index() == 0:
        for line in _differences(source, experiment):
            print(line, file=sys.stderr)
    state = starting_weights.place(weights, experiment.initial_state)
    averages = evaluate(experiment.eval_step, state, experiment.eval_batches())
    share_broken_images(experiment)
    if jax.process_index() == 0:
        print(eval_line(step, averages), flush=True)
    return averages


def _differences(source: Path, experiment: Experiment) -> list[str]:
    """Returns a line for each way an evaluation's classes and view of images are not those of its weights."""
    config, names = experiment.config, experiment.sources["eval"].class_names
    try:
        change = trained_run.renamed_class(source, names)
        lines = [f"note: not the classes of {source}: {change}"] if change else []
    except RequestError as damaged:  # an evaluation can do without
        lines = [f"note: {damaged}"]
    if of := trained_run.workdir_of(source):
        texts = run_card.changed_look(config.to_dict(), of)
        return lines + [f"note: not as the run in {of} was evaluated: {text}" for text in texts]
    size = experiment.identity.image_size
    normalisation = starting_weights.other_normalisation(
        source, size, mean=config.data.mean, std=config.data.std
    )
    return lines + list(normalisation)


@dataclasses.dataclass
class _Run:
    """One process's part of a run, from its first step to its last."""

    experiment: Experiment
    clock: Clock
    checkpoints: Checkpoints
    writer: MetricsWriter | NoWriter
    console: RunConsole
    pictures: Pictures | None
    stop: StopRequest
    memory_bytes: int | None = None  # the compiled training step's, on each device

    def train(self, state: TrainState, start_step: int) -> Averages:
        """Trains from a state to the end, and returns the last evaluation."""
        config = self.experiment.config.health
        with StallWatch(
            config.stall_seconds, self._stalled, max_stall_seconds=config.max_stall_seconds
        ) as self.watch:
            final = self._train(state, start_step)
            self.watch.waits_for("the last checkpoint")
            with self.clock.measure("checkpoint"):
                self.checkpoints.wait()
            return final

    def _train(self, state: TrainState, start_step: int) -> Averages:
        agenda = self.experiment.agenda
        report = TrainReport(self.experiment, self.clock, self._record)
        batches = self.experiment.train_batches(start_step)
        self._picture(start_step, state)
        train_step = None
        averages = None
        best = self.checkpoints.best_top1()
        for first, done in self.experiment.spans(start_step):
            self.watch.waits_for(f"the input (a batch after step {first})")
            with self.clock.measure("input_wait"):
                batch = self.experiment.place_batch("train", next(batches))
            self.watch.waits_for(f"the device (the steps to {done})")
            if train_step is None:
                with self.clock.measure("compile"):
                    train_step = self.experiment.train_step.lower(state, batch).compile()
                self.memory_bytes = expected_memory_bytes(train_step)
            state, sums = train_step(state, batch)
            report.add(first, done, sums)
            if stuck := report.take_stuck():
                self._tell_stuck(done, state, stuck)
            self.console.step(done, done / agenda.steps_per_epoch)

            evaluate_now, save_now = agenda.evaluates(done), agenda.saves(done)
            if evaluate_now or save_now:
                share_broken_images(self.experiment)
                report.flush()
                health.check_state(done, state)
            averages = self._evaluate(done, state) if evaluate_now else None
            if averages is not None:
                self._picture(done, state)
                state = _after_evaluation(self.experiment.plateau, state, averages)
            if averages is not None and self.experiment.config.checkpoint.keep_best:
                save_now = save_now or best is None or averages.top1 > best
                best = averages.top1 if best is None else max(best, averages.top1)
            if save_now:
                self.watch.waits_for("a checkpoint")
                with self.clock.measure("checkpoint"):
                    self.checkpoints.save(done, state, averages)
            if evaluate_now or save_now:
                memory.trim_kept_memory()
                report.restart()
            if (signal := self.stop.poll()) and done < agenda.total_steps:
                batches.close()
                report.flush()
                health.check_state(done, state)
                self._save_and_stop(signal, done, state, averages)
        batches.close()
        if averages is None:  # nothing was left to do
            averages = self._averages(state)
        return averages

    def event(self, step: int, event: dict[str, Any]) -> None:
        """Records something that is no measurement."""
        self._record({"step": step, "split": "event", **event})

    def _stalled(self, text: str) -> None:
        self.writer.write({"step": 0, "epoch": 0, "split": "event", "event": "stall", "text": text})

    def _tell_stuck(self, done: int, state: TrainState, text: str) -> None:
        if self.experiment.parallelism == "jit" and jax.process_count() == 1:
            dead = health.dead_layers(self.experiment.activations(state))
            text = f"{text}; {health.advice(dead)}"
            self.event(done, {"event": "stuck_loss", "dead_layers": ", ".join(dead)})
        else:
            self.event(done, {"event": "stuck_loss"})
        self.console.say(f"warning: {text}")

    def _save_and_stop(
        self, signal: int, done: int, state: TrainState, averages: Averages | None
    ) -> None:
        self.watch.waits_for("a checkpoint")
        with self.clock.measure("checkpoint"):
            self.checkpoints.save(done, state, averages)
            self.checkpoints.require_saved()
        raise Stopped(signal, done)

    def _averages(self, state: TrainState) -> Averages:
        with self.clock.measure("evaluation"):
            batches = self.watch.each(self.experiment.eval_batches(), "an evaluation's batch")
            averages = evaluate(self.experiment.eval_step, state, batches)
            share_broken_images(self.experiment)
            return averages

    def _evaluate(self, done: int, state: TrainState) -> Averages:
        averages = self._averages(state)
        broken = broken_images(self.experiment, "eval")
        self._record({"step": done, "split": "eval", **averages.record(), **broken})
        health.check_evaluation(done, averages.loss)
        if done < self.experiment.total_steps:
            self.console.say(eval_line(done, averages))
        return averages

    def _picture(self, done: int, state: TrainState) -> None:
        if self.pictures is not None:
            with self.clock.measure("evaluation"):
                self.pictures.write(done, state)

    def _record(self, record: dict[str, Any]) -> None:
        epoch = record["step"] / self.experiment.train_order.steps_per_epoch
        record = {"step": record.pop("step"), "epoch": round(epoch, 4), **record}
        self.writer.write(record)
        if record["split"] == "train":
            self.console.train(record)


def _after_evaluation(plateau: Plateau | None, state: TrainState, averages: Averages) -> TrainState:
    if plateau is None:
        return state
    value = getattr(averages, plateau.metric)
    return dataclasses.replace(state, plateau=plateau.update(state.plateau, value))
