"""The network of a run, looked at again: its first filters, and what its newest checkpoint says to every image."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from alexnet_jax import config as configuration
from alexnet_jax.data import decode
from alexnet_jax.data.broken import describe
from alexnet_jax.data.sources.base import Source
from alexnet_jax.errors import RequestError
from alexnet_jax.report.records import Run
from alexnet_jax.train import checkpoint, experiment
from alexnet_jax.train.pictures import first_filters
from alexnet_jax.train.predictions import Predictions, predict
from alexnet_jax.train.writers import CONFIG_FILE


@dataclasses.dataclass(frozen=True)
class Examination:
    """What was seen.

    Attributes:
      step: Of the newest sound checkpoint; None where there is none.
      first_filters: float [height, width, 3, filters] before the first step; None where the run did not draw its own.
      last_filters: The same of the newest checkpoint; None where there is none.
      predictions: Of the newest checkpoint; None where it was not evaluated.
      class_names: By label; empty without predictions.
      source: The evaluation split; None without predictions.
      decoder: Turns its images into what the network sees; None where they are arrays.
      broken: Which of them could not be read: another was evaluated in their place.
      device: Where it was evaluated.
      missing: Why something is None, a sentence each.
    """

    step: int | None = None
    first_filters: np.ndarray | None = None
    last_filters: np.ndarray | None = None
    predictions: Predictions | None = None
    class_names: Sequence[str] = ()
    source: Source | None = None
    decoder: decode.Decoder | None = None
    broken: Sequence[int] = ()
    device: str = ""
    missing: tuple[str, ...] = ()

    def pixels(self, index: int) -> np.ndarray:
        """Returns evaluation image ``index``, uint8 [height, width, 3], as the protocol crops it."""
        assert self.source is not None, "there are no images to look at"
        image = self.source[index]["image"]
        return image if self.decoder is None else self.decoder(image, np.random.default_rng(0))

    def describe(self, index: int) -> str:
        """Returns what a person finds evaluation image ``index`` by."""
        assert self.source is not None, "there are no images to look at"
        return describe(self.source, index)


def examine(run: Run, device: jax.Device, *, evaluate: bool = True) -> Examination:
    """Looks at a run's network again, as far as its files and its data are there.

    Args:
      run: As it lies on disk.
      device: To evaluate on; it need not be of the kind the run was trained on.
      evaluate: Whether to evaluate the newest checkpoint.
    """
    missing: list[str] = []
    try:
        config = _on_one_device(_settings(run), run)
        sources = _open(config, missing)
        built = experiment.build(config, sources or _made_up(config), [device])
    except RequestError as error:
        return Examination(missing=(f"The network could not be built again: {error}",))
    state = built.initial_state
    first = None if config.init_weights else first_filters(state)
    if first is None:
        missing.append(
            f"The filters at the start are not shown: the run began with the weights of {config.init_weights}."
        )
    try:
        newest = checkpoint.read_newest(
            run.workdir,
            lambda step: (step, checkpoint.restore(run.workdir, built.identity, state, step)),
        )
        if newest is None:
            raise RequestError(
                "There is no checkpoint (yet): no filters at the end, nothing to evaluate."
            )
        step, state = newest
    except RequestError as error:
        return Examination(first_filters=first, missing=(*missing, str(error)))
    seen = Examination(step, first, first_filters(state), missing=tuple(missing))
    if sources is None or not evaluate:
        return seen
    try:
        predictions = predict(built, state)
    except RequestError as error:
        return dataclasses.replace(
            seen, missing=(*missing, f"Nothing was evaluated again: {error}")
        )
    return dataclasses.replace(
        seen,
        predictions=predictions,
        class_names=sources["eval"].class_names,
        source=sources["eval"],
        decoder=built.decoders["eval"],
        broken=built.broken["eval"].found(),
        device=device.device_kind,
    )


def _settings(run: Run) -> ConfigDict:
    """Returns the run's configuration.

    Raises:
      RequestError: If it is none that a run can have; the file is then not what the run wrote.
    """
    path = run.workdir / CONFIG_FILE
    config = configuration.from_json(run.settings, path)
    if faults := configuration.validate(config):
        texts = " ".join(fault.text for fault in faults)
        raise RequestError(f"{path} is damaged: {texts} Restore it, or run again.")
    return config


def _on_one_device(config: ConfigDict, run: Run) -> ConfigDict:
    """Returns the run's configuration for one device of one process, in the precision it was trained in."""
    config.parallelism = "jit"
    config.optimizer.accumulate_steps = 1
    config.data.resident, config.steps_per_dispatch = "false", 0
    if run.card is not None:
        config.model.precision = run.card["precision"]
    return config


def _open(config: ConfigDict, missing: list[str]) -> experiment.Sources | None:
    try:
        sources = experiment.open_sources(config)
        faults = [fault.text for fault in experiment.data_faults(config, sources)]
    except RequestError as error:
        faults = [str(error)]
    if faults:
        missing.append(f"The data are not here, so nothing was evaluated again: {' '.join(faults)}")
        return None
    return sources


def _made_up(config: ConfigDict) -> experiment.Sources:
    """Returns data of the right shape, to build the network by where its own data are not."""
    stand_in = config.copy_and_resolve_references()
    stand_in.data.source = "synthetic"
    stand_in.data.synthetic_examples = config.batch_size
    return experiment.open_sources(stand_in)
