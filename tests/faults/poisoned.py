"""The training command with a gradient that is NaN: python -m tests.faults.poisoned STEP once|always [arguments].

"once" poisons the run as it was first built, as a fault that does not come back; "always" every one.
"""

import sys

from jax import numpy as jnp

from alexnet_jax import main
from alexnet_jax.train import experiment, steps


def _poison(step: int, *, always: bool) -> None:
    gradients, build = steps._gradients, experiment.build
    builds = []

    def counted(*arguments, **options):
        builds.append(1)
        return build(*arguments, **options)

    def poisoned(loss, state, examples, parts):
        found, sums, model_state = gradients(loss, state, examples, parts)
        if always or len(builds) == 1:
            bad = jnp.where(state.step == step - 1, jnp.nan, 0.0)
            kernel = found["conv3"]["kernel"] + bad
            found = {**found, "conv3": {**found["conv3"], "kernel": kernel}}
        return found, sums, model_state

    steps._gradients, experiment.build = poisoned, counted


if __name__ == "__main__":
    _poison(int(sys.argv[1]), always=sys.argv[2] == "always")
    sys.exit(main.main([sys.argv[0], *sys.argv[3:]]))
