"""The training door: ``python -m alexnet_jax.main --config configs/digits.py``."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from alexnet_jax import config as configuration
from alexnet_jax.backend import compilation_cache, distributed, memory
from alexnet_jax.backend.activate import activate
from alexnet_jax.config.rules import none_faults
from alexnet_jax.errors import Fault, RequestError, RunError, refused
from alexnet_jax.train import dry_run, experiment, lock, loop, start
from alexnet_jax.train.stopping import Stopped

MODES = ("train", "eval")

USAGE = """\
usage: python -m alexnet_jax.main --config FILE[:ARGUMENT] [--workdir DIR] [--mode train|eval] [--dry_run]
       [--quiet] [--config.KEY=VALUE ...]

Trains (or evaluates) a recipe. A workdir that holds checkpoints is continued, without asking.

  --config    the recipe, a file that defines get_config(); some take an argument, e.g. configs/imagenet.py:smoke;
              the checkout and the source distribution hold configs/, an installed wheel does not
  --workdir   where the run is written; default: runs/RECIPE, or runs/RECIPE-ARGUMENT
  --mode      train, or eval: evaluate --config.init_weights=PATH where it is set, else the workdir's newest checkpoint
  --dry_run   compile the steps and say how much memory they need; nothing is trained or written
  --quiet     print nothing but the last line, the evaluation
  --config.KEY=VALUE   changes one setting, e.g. --config.optimizer.learning_rate=0.02

Example:
  python -m alexnet_jax.main --config configs/digits.py --config.num_epochs=5 --workdir runs/digits-5

Exit status: 0 done; 1 it failed while running; 2 the request was wrong; 130, 143: a signal ended it, after it saved."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a recipe and returns the exit status.

    0: done. 1: it failed while running. 2: the request was wrong. 128 + N: signal N stopped it, after it saved.
    """
    arguments = list(sys.argv if argv is None else argv)
    return distributed.exit_together(lambda: _status(arguments))


def _status(argv: list[str]) -> int:
    try:
        with memory.enough():
            _run(argv)
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.status
    except KeyboardInterrupt:  # before the first step or after the last
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _run(argv: list[str]) -> None:
    if {"-h", "--help"} & set(argv):
        print(USAGE)
        return
    arguments, assignments = _split_overrides(argv)
    options = _parse(arguments)
    config = configuration.load(options.config)
    faults = configuration.override(config, assignments)
    if nothing := none_faults(config):
        raise refused([*faults, *nothing])
    workdir = _workdir(options)
    writes = options.mode == "train" and not options.dry_run
    if writes and distributed.is_first(
        config.distributed.num_processes, config.distributed.process_id
    ):
        # On another host the lock of a dead run looks alive, which the first process takes over on its own.
        lock.refuse_if_held(workdir)
    prepared = _prepare(config, faults, workdir / "cache" if writes else None)
    if options.dry_run:
        dry_run.dry_run(prepared, workdir, start.starting_step(prepared, workdir))
    elif options.mode == "eval":
        loop.evaluate_only(prepared, workdir)
    else:
        loop.train(prepared, workdir, recipe=options.config, quiet=options.quiet)


def _split_overrides(argv: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Separates ``--config.KEY=VALUE`` and ``--config.KEY VALUE`` from the other arguments."""
    others, assignments = [], []
    remaining = iter(argv)
    for argument in remaining:
        if not argument.startswith("--config."):
            others.append(argument)
            continue
        key, separator, value = argument.removeprefix("--config.").partition("=")
        assignments.append((key, value if separator else next(remaining, "")))
    return others, assignments


def _parse(arguments: list[str]) -> flags.FlagValues:
    values = (
        flags.FlagValues()
    )  # our own: importing or calling this adds nothing to absl's global flags
    flags.DEFINE_string("config", "", "The recipe.", flag_values=values)
    flags.DEFINE_string("workdir", "", "Where everything is written.", flag_values=values)
    flags.DEFINE_enum("mode", "train", MODES, "What to do.", flag_values=values)
    flags.DEFINE_bool("dry_run", False, "Compile only.", flag_values=values)
    flags.DEFINE_bool("quiet", False, "Print the result only.", flag_values=values)
    try:
        extra = values(arguments)[1:]
    except flags.Error as error:
        raise RequestError(f"{error}\n\n{USAGE}") from error
    if extra:
        raise RequestError(f"unknown argument {extra[0]!r}.\n\n{USAGE}")
    if not values.config:
        raise RequestError(f"--config is missing; the recipes are in configs/.\n\n{USAGE}")
    return values


def _workdir(options: flags.FlagValues) -> Path:
    """Returns the workdir: unless given, one for every form of a recipe, so that none continues another."""
    path, _, argument = options.config.partition(":")
    name = "-".join([Path(path).stem, *filter(None, argument.split(","))])
    return Path(options.workdir or f"runs/{name}")


def _prepare(
    config: ConfigDict, faults: list[Fault], cache_dir: Path | None
) -> experiment.Experiment:
    """Builds the run, or reports every fault of the configuration, the data and the devices together."""
    faults = [*faults, *configuration.validate(config)]
    sources, devices = None, None
    try:
        job = config.distributed
        compilation_cache.enable(config.compilation_cache)
        distributed.join(job.coordinator, job.num_processes, job.process_id)
        devices = activate(config.backend, config.backend_library, dict(config.backend_options))
        distributed.check_process_count(job.num_processes)
        faults += experiment.device_faults(config, len(devices))
    except RequestError as error:
        faults.append(Fault("backend", str(error)))
    if not experiment.DATA_KEYS & {fault.key for fault in faults}:
        try:
            sources = experiment.open_sources(config, cache_dir)
            experiment.settle_classes(config, sources)
            faults += experiment.data_faults(config, sources)
        except RequestError as error:
            faults.append(Fault("data", str(error)))
    if faults or sources is None or devices is None:
        raise refused(faults)
    return experiment.build(config, sources, devices)


if __name__ == "__main__":
    memory.keep_freed_memory()  # of this process: a caller of main() decides for its own
    sys.exit(main())
