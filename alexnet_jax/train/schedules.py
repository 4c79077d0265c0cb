"""Learning rates as functions of the step. A new one is a function here and a row in ``SCHEDULES``."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike

Schedule = Callable[[ArrayLike], jax.Array]

MOST_STEPS = 2**31 - 1  # they are counted in 32 bits


@dataclasses.dataclass(frozen=True)
class ScheduleSettings:
    """What the schedules are made from.

    Attributes:
      learning_rate: The peak.
      steps_per_epoch: Optimizer steps in an epoch.
      num_epochs: Length of the run.
      warmup_epochs: Length of the linear rise to the peak.
      step_epochs: Epochs between two drops of "step".
      step_factor: What "step" multiplies the rate with at each drop.
      step_fractions: Where "step" drops, as fractions of the run; given, they replace ``step_epochs``.
      cosine_per_epoch: Whether "cosine" moves at the start of each epoch only.
      cosine_from_start: Whether "cosine" counts from the first step, below the warm-up, and not from its end: the
        rate then jumps where the warm-up ends.
    """

    learning_rate: float
    steps_per_epoch: int
    num_epochs: float
    warmup_epochs: float
    step_epochs: float
    step_factor: float
    step_fractions: tuple[float, ...] = ()
    cosine_per_epoch: bool = False
    cosine_from_start: bool = False

    @property
    def warmup_steps(self) -> float:
        """Length of the linear rise, in steps."""
        return self.warmup_epochs * self.steps_per_epoch

    @property
    def total_steps(self) -> float:
        """Length of the run, in steps."""
        return self.num_epochs * self.steps_per_epoch


def constant(settings: ScheduleSettings) -> Schedule:
    """The peak, after the warm-up."""
    return _warm_up(settings, lambda step: jnp.full(step.shape, settings.learning_rate))


def cosine(settings: ScheduleSettings) -> Schedule:
    """Half a cosine from the peak to zero at the end.

    Source: Loshchilov and Hutter, arXiv:1608.03983, without restarts; the warm-up from Goyal et al.,
    arXiv:1706.02677, section 2.2. Stepped per epoch and without warm-up it is PyTorch's CosineAnnealingLR.
    """
    start = 0.0 if settings.cosine_from_start else settings.warmup_steps
    length = max(settings.total_steps - start, 1)
    stride = settings.steps_per_epoch if settings.cosine_per_epoch else 1

    def decay(step: jax.Array) -> jax.Array:
        left = jnp.clip((settings.total_steps - step // stride * stride) / length, 0, 1)
        # (1 + cos(pi * (1 - left))) / 2, without the difference of near numbers that float32 cannot take at the end.
        return settings.learning_rate * jnp.sin(jnp.pi / 2 * left) ** 2

    return _warm_up(settings, decay)


def step(settings: ScheduleSettings) -> Schedule:
    """The peak, multiplied by ``step_factor`` after every ``step_epochs`` epochs, or at ``step_fractions``."""
    # A period longer than the longest run is as good as none, and would not fit beside the step.
    period = max(round(min(settings.step_epochs * settings.steps_per_epoch, MOST_STEPS)), 1)
    places = np.array([round(part * settings.total_steps) for part in settings.step_fractions])

    def decay(step: jax.Array) -> jax.Array:
        drops = (step >= places).sum() if settings.step_fractions else step // period
        return settings.learning_rate * settings.step_factor ** drops.astype(jnp.float32)

    return _warm_up(settings, decay)


def _warm_up(settings: ScheduleSettings, schedule: Callable[[jax.Array], jax.Array]) -> Schedule:
    """Precedes ``schedule`` by a linear rise that reaches the peak in the last step of the warm-up."""

    def rate(step: ArrayLike) -> jax.Array:
        step = jnp.asarray(
            step, jnp.int32
        )  # whole numbers: an epoch begins at its step, not one beside it
        if settings.warmup_steps == 0:
            return schedule(step)
        rise = settings.learning_rate * (step + 1) / settings.warmup_steps
        peak = settings.learning_rate  # passed where the warm-up ends within a step
        return jnp.where(step < settings.warmup_steps, jnp.minimum(rise, peak), schedule(step))

    return rate


SCHEDULES: dict[str, Callable[[ScheduleSettings], Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "plateau": constant,  # times the scale that evaluations set: see ``plateau``
    "step": step,
}
