"""How a step is spread over devices. The steps know nothing of it; a new strategy is a class and a row here."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from alexnet_jax.backend.capabilities import donates
from alexnet_jax.backend.compilation_cache import keep_where_sound
from alexnet_jax.model.placement import Convolution, Placement
from alexnet_jax.model.variants import Variant
from alexnet_jax.train import hybrid, mixing
from alexnet_jax.train.dispatch import ManySteps
from alexnet_jax.train.state import TrainState
from alexnet_jax.train.steps import DeviceBatch, EvalStep, TrainStep

AXIS = "data"
T = TypeVar("T")


class Strategy(Protocol):
    """What the wiring and the loop ask of a strategy.

    Attributes:
      placement: For the model.
      replicated: The whole of an array on every device.
      by_row: An array's first axis split over the devices.
    """

    placement: Placement
    replicated: NamedSharding
    by_row: NamedSharding

    def total(self, tree: T) -> T:
        """Adds up a per-device view's arrays over the devices, inside the step."""
        ...

    def neighbour(self, x: jax.Array) -> jax.Array:
        """Returns ``mixing.neighbour`` of a per-device view's rows, in the whole batch, inside the step."""
        ...

    def rows(self, batch_size: int) -> slice:
        """Returns the rows of a global batch that this process loads."""
        ...

    def place_state(self, state: TrainState) -> TrainState:
        """Puts a state, the same in every process, on the devices."""
        ...

    def place_batch(self, batch: Any) -> DeviceBatch:
        """Puts this process's rows on its devices."""
        ...

    def train_step(self, step: TrainStep, state: TrainState) -> Any:
        """Returns the compiled-at-first-call step; it consumes the state it is given."""
        ...

    def place_steps(self, steps: Any) -> DeviceBatch:
        """Puts the batches of several steps, [steps, rows, ...], on the devices."""
        ...

    def train_steps(self, steps: ManySteps, state: TrainState) -> Any:
        """Returns the compiled-at-first-call steps of a dispatch; they consume the state they are given."""
        ...

    def eval_step(self, step: EvalStep, state: TrainState) -> Any:
        """Returns the compiled-at-first-call step."""
        ...


class JitStrategy:
    """Data parallelism by the compiler: state replicated, batch split by rows, gradients reduced by XLA."""

    def __init__(self, devices: Sequence[jax.Device], variant: Variant):
        del variant
        self._devices = list(devices)
        # Auto axes: the compiler propagates shardings; explicit ones would put them into every array's type.
        self.mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())
        self.by_row = NamedSharding(self.mesh, PartitionSpec(AXIS))
        self._by_step_and_row = NamedSharding(self.mesh, PartitionSpec(None, AXIS))
        self.placement = Placement(by_row=self._by_row())
        self.donated = (0,) if donates(self.mesh.local_devices[0]) else ()

    def _by_row(self) -> Callable[[Convolution], Convolution] | None:
        """Returns what gives every device its rows of a convolution; None where there is one device."""
        if self.mesh.devices.size == 1:
            return None

        def by_row(convolution: Convolution) -> Convolution:
            def on_rows(x: jax.Array, kernel: jax.Array, *arguments: Any, **options: Any) -> Any:
                rows, whole = PartitionSpec(AXIS), PartitionSpec()
                # A loop over images would be a loop over devices; left to the compiler, it would gather them all.
                return jax.shard_map(
                    lambda x, kernel: convolution(x, kernel, *arguments, **options),
                    mesh=self.mesh,
                    in_specs=(rows, whole),
                    out_specs=rows,
                    check_vma=False,  # the kernels' gradients are added up over the devices outside
                )(x, kernel)

            return on_rows

        return by_row

    def total(self, tree: T) -> T:
        """Returns ``tree``: the step sees whole batches."""
        return tree

    def neighbour(self, x: jax.Array) -> jax.Array:
        """Returns the row before each."""
        return mixing.neighbour(x)

    def rows(self, batch_size: int) -> slice:
        """Returns this process's equal share of consecutive rows."""
        size = batch_size // jax.process_count()
        start = jax.process_index() * size
        return slice(start, start + size)

    def state_shardings(self, state: TrainState) -> Any:
        """Returns where each array of the state lives: everywhere."""
        return jax.tree.map(lambda _: self.replicated, state)

    def place_state(self, state: TrainState) -> TrainState:
        """Puts a state, the same in every process, on the devices."""
        if jax.process_count() > 1:
            state = jax.device_get(
                state
            )  # arrays of one process's device cannot become global ones
        return jax.device_put(state, self.state_shardings(state))

    def place_batch(self, batch: Any) -> DeviceBatch:
        """Puts this process's rows on its devices."""
        return {
            name: jax.make_array_from_process_local_data(self.by_row, array)
            for name, array in batch.items()
        }

    def train_step(self, step: TrainStep, state: TrainState) -> Any:
        """Returns the jitted step; it consumes the state it is given, where the devices can."""
        where = self.state_shardings(state)
        return self._jit(
            step,
            in_shardings=(where, self.by_row),
            out_shardings=(where, self.replicated),
            donate_argnums=self.donated,
        )

    def place_steps(self, steps: Any) -> DeviceBatch:
        """Puts the batches of several steps, [steps, rows, ...], on the devices of this one process."""
        return jax.device_put(steps, self._by_step_and_row)

    def train_steps(self, steps: ManySteps, state: TrainState) -> Any:
        """Returns the jitted steps of a dispatch; they consume the state they are given, where the devices can."""
        where = self.state_shardings(state)
        whole, split = self.replicated, self._by_step_and_row
        return self._jit(
            steps,
            in_shardings=(where, {"images": whole, "steps": split, "count": whole}),
            out_shardings=(where, whole),
            donate_argnums=self.donated,
        )

    def eval_step(self, step: EvalStep, state: TrainState) -> Any:
        """Returns the jitted step."""
        where = self.state_shardings(state)
        return self._jit(step, in_shardings=(where, self.by_row), out_shardings=self.replicated)

    def _jit(self, function: Callable[..., Any], **options: Any) -> Any:
        return keep_where_sound(jax.jit(function, **options), self._devices)


class HybridStrategy(JitStrategy):
    """Krizhevsky's "one weird trick": data-parallel convolutions, model-parallel dense layers."""

    def __init__(self, devices: Sequence[jax.Device], variant: Variant):
        super().__init__(devices, variant)
        self._specs = hybrid.parameter_specs(variant, AXIS)
        products = hybrid.dense_products(self.mesh, variant, AXIS)
        self.placement = Placement(dense_products=products, by_row=self._by_row())

    def state_shardings(self, state: TrainState) -> Any:
        """Returns where each array lives: dense layers and their optimizer state in parts, the rest everywhere."""

        def sharding(path: Any, _: Any) -> NamedSharding:
            names = tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path[-2:])
            spec = self._specs[names] if names in self._specs else PartitionSpec()
            return NamedSharding(self.mesh, spec)

        return jax.tree_util.tree_map_with_path(sharding, state)


class PmapStrategy(JitStrategy):
    """Data parallelism by ``jax.pmap``: the step sees one device's rows and adds up over the devices itself."""

    def __init__(self, devices: Sequence[jax.Device], variant: Variant):
        super().__init__(devices, variant)
        self._own_count = len(self.mesh.local_devices)  # of them this process has, and fills
        self.placement = Placement(batch_axis=AXIS)

    def total(self, tree: T) -> T:
        """Returns the sums over the devices, on each of them."""
        return lax.psum(tree, AXIS)

    def neighbour(self, x: jax.Array) -> jax.Array:
        """Returns the row before each; for a device's first, the last of the device before."""
        count = len(self._devices)
        following = [(device, (device + 1) % count) for device in range(count)]
        return jnp.concatenate([lax.ppermute(x[-1:], AXIS, following), x[:-1]])

    def place_batch(self, batch: Any) -> DeviceBatch:
        """Puts this process's rows on its devices, with an axis of devices before that of rows."""
        split = {name: a.reshape(self._own_count, -1, *a.shape[1:]) for name, a in batch.items()}
        return super().place_batch(split)

    def train_step(self, step: TrainStep, state: TrainState) -> Any:
        """Returns the mapped step; it consumes the state it is given."""
        del state
        return self._map(step, donate_argnums=self.donated)

    def place_steps(self, steps: Any) -> DeviceBatch:
        """Puts the batches of several steps on the devices, with an axis of devices before those of steps and rows."""

        def split(array: Any) -> Any:
            by_device = array.reshape(len(array), self._own_count, -1, *array.shape[2:])
            return np.ascontiguousarray(by_device.swapaxes(0, 1))

        return jax.device_put(jax.tree.map(split, steps), self.by_row)

    def train_steps(self, steps: ManySteps, state: TrainState) -> Any:
        """Returns the mapped steps of a dispatch; they consume the state they are given."""
        del state
        batch_axes = {"images": None, "steps": 0, "count": None}
        return self._map(steps, batch_axes, donate_argnums=self.donated)

    def eval_step(self, step: EvalStep, state: TrainState) -> Any:
        """Returns the mapped step."""
        del state
        return self._map(step)

    def _map(self, step: Callable[..., Any], batch_axes: Any = 0, **options: Any) -> Any:
        # The state is one array for all devices, as everywhere else, so it has no axis of devices.
        in_axes: Any = (None, batch_axes)
        out_axes: Any = None
        mapped = jax.pmap(
            step, AXIS, in_axes=in_axes, out_axes=out_axes, devices=self._devices, **options
        )
        return keep_where_sound(mapped, self._devices)


STRATEGIES: dict[str, Callable[[Sequence[jax.Device], Variant], Strategy]] = {
    "jit": JitStrategy,
    "pmap": PmapStrategy,
    "hybrid": HybridStrategy,
}
