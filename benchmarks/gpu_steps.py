"""Whole training steps for gpu_report.py, wired by hand from the parts that need jax, flax, optax and NumPy alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from gpu_formulations import network
from jax import numpy as jnp

from alexnet_jax.model import functional
from alexnet_jax.model.summary import summarize
from alexnet_jax.model.variants import get_variant
from alexnet_jax.train import ceilings, dispatch, peer_torch
from alexnet_jax.train import state as train_state
from alexnet_jax.train.augment import Augmentation, Normalization, Transform
from alexnet_jax.train.optimizer import sgd
from alexnet_jax.train.steps import Objective, make_train_step
from alexnet_jax.train.timing import median_seconds

NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
CHECK_ROWS = 8
CHECK_LIMITS = {
    "float32": 0.02,
    "bfloat16": 0.2,
}  # of the gradients' largest entry, to float32 on the CPU


@dataclasses.dataclass(frozen=True)
class Request:
    """What is measured: a variant at a size, where, and how often."""

    variant: str
    image_size: int
    num_classes: int
    device: jax.Device
    rounds: int


def batch_of(request: Request, size: int) -> dict[str, np.ndarray]:
    """Returns random images and labels, on the host; zeros would be faster than photographs."""
    generator = np.random.default_rng(0)
    shape = (size, request.image_size, request.image_size, 3)
    return {
        "image": generator.integers(0, 256, shape, np.uint8),
        "label": generator.integers(0, request.num_classes, size).astype(np.int32),
        "mask": np.ones(size, bool),
        "row": np.arange(size, dtype=np.int32),
    }


def make_step(
    request: Request, precision: str, layers: str, dropout_rate: float | None = None
) -> tuple[Callable[..., Any], train_state.TrainState, Objective]:
    """Returns a training step with momentum, weight decay and flips, its first state, and the objective."""
    model, params, model_state = functional.split(
        network(request, DTYPES[precision], layers, dropout_rate)
    )
    objective = Objective(
        model=model,
        transform=Transform(request.image_size, NORMALIZATION, Augmentation(flip_probability=0.5)),
        label_smoothing=0.0,
        smoothing_form="all_classes",
        total=lambda tree: tree,
    )

    def schedule(step: Any) -> jax.Array:
        return jnp.full(jnp.shape(step), 0.01, jnp.float32)

    optimizer = sgd(schedule, momentum=0.9, nesterov=False, weight_decay=1e-4, decay_mask="no_bias")
    state = train_state.create(params, model_state, optimizer)
    return make_train_step(objective, optimizer, schedule, 0), state, objective


def check(request: Request, precision: str, layers: str) -> dict[str, Any]:
    """Compares loss and gradients of a few images with float32 and plain layers on the CPU."""
    batch = batch_of(request, CHECK_ROWS)

    def results(precision: str, layers: str, device: jax.Device) -> tuple[float, Any]:
        with jax.default_device(device):
            _, state, objective = make_step(request, precision, layers, 0.0)

            def loss(params: Any, batch: Any) -> jax.Array:
                images = objective.transform(batch["image"])
                logits, _ = objective.model.apply(params, state.model_state, images)
                return objective.losses(logits, batch).mean()

            value, gradients = jax.jit(jax.value_and_grad(loss))(state.params, batch)
            return float(value), jax.device_get(gradients)

    value, gradients = results(precision, layers, request.device)
    expected, references = results("float32", "plain", jax.local_devices(backend="cpu")[0])

    def error(ours: Any, theirs: Any) -> float:
        return float(np.abs(ours - theirs).max() / np.abs(theirs).max())

    worst = max(jax.tree.leaves(jax.tree.map(error, gradients, references)))
    return {
        "precision": precision,
        "layers": layers,
        "loss": value,
        "loss_on_cpu": expected,
        "worst_gradient_error": worst,
        "right": worst < CHECK_LIMITS[precision] and abs(value - expected) < 0.05 * expected,
    }


def time_steps(
    request: Request, sizes: Sequence[int], precision: str, names: Sequence[str], torch: bool
) -> list[dict[str, Any]]:
    """Times the step at each batch size, every formulation and PyTorch's in turns."""
    rows = []
    peak = ceilings.matrix_product_flops(request.device, DTYPES[precision])
    copied = ceilings.copy_bytes_per_second(request.device)
    summary = summarize(
        request.variant, image_size=request.image_size, num_classes=request.num_classes
    )
    for size in sizes:
        batch = jax.device_put(batch_of(request, size), request.device)
        calls: dict[str, Callable[[], Any]] = {}
        memory: dict[str, int] = {}
        for layers in names:
            calls[layers], memory[layers] = _running(request, precision, layers, batch)
        if torch:
            calls["torch"] = peer_torch.training_step(
                get_variant(request.variant),
                image_size=request.image_size,
                num_classes=request.num_classes,
                batch_size=size,
                precision=precision,
                on_gpu=request.device.platform != "cpu",
            )
        flops = size * ceilings.flops_per_image(summary)
        moved = ceilings.step_bytes(summary, size, jnp.dtype(DTYPES[precision]).itemsize)
        for name, seconds in median_seconds(calls, request.rounds).items():
            rows.append(
                {
                    "batch_size": size,
                    "precision": precision,
                    "layers": name,
                    "milliseconds": 1e3 * seconds,
                    "images_per_second": size / seconds,
                    "arithmetic_floor_milliseconds": 1e3 * flops / peak,
                    "bandwidth_floor_milliseconds": 1e3 * moved / copied,
                    "model_flops_utilization": flops / seconds / peak,
                    "expected_memory_bytes": memory.get(name),
                }
            )
    return rows


def _running(
    request: Request, precision: str, layers: str, batch: Any
) -> tuple[Callable[[], Any], int]:
    """Returns a call that trains a step on ``batch`` and waits, and the bytes it needs on the device."""
    step, state, _ = make_step(request, precision, layers)
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    states = [jax.device_put(state, request.device)]

    def run() -> None:
        states[0], _ = compiled(states[0], batch)
        jax.block_until_ready(states[0])

    sizes = compiled.memory_analysis()
    needed = sizes.argument_size_in_bytes + sizes.temp_size_in_bytes if sizes else 0
    return run, needed


def train_resident(request: Request, batch_size: int, precision: str, layers: str) -> list[Any]:
    """Trains on data of CIFAR-10's size that lie on the device: one step a dispatch, and several."""
    count, most = 50 * batch_size, dispatch.AUTOMATIC_STEPS
    data = batch_of(request, count)
    images = jax.device_put(data["image"], request.device)
    step, state, _ = make_step(request, precision, layers)
    row = np.tile(np.arange(batch_size, dtype=np.int32), (most, 1))
    indices = np.random.default_rng(1).integers(0, count, row.shape).astype(np.int32)
    steps = {
        "image": indices,
        "label": data["label"][indices],
        "mask": np.ones(row.shape, bool),
        "row": row,
    }

    def running(together: int) -> Callable[[], None]:
        """Returns a call that trains ``most`` steps, so many of them ``together``, and waits."""
        cut = {name: array[:together] for name, array in steps.items()}
        batch = {"images": images, "steps": cut, "count": np.int32(together)}
        program = jax.jit(dispatch.make_train_steps(step), donate_argnums=0)
        compiled = program.lower(state, batch).compile()
        states = [jax.device_put(jax.tree.map(jnp.copy, state), request.device)]

        def run() -> None:
            for _ in range(most // together):
                states[0], _ = compiled(states[0], batch)
            jax.block_until_ready(states[0])

        return run

    calls = {str(together): running(together) for together in (most, 1)}
    return [
        {
            "batch_size": batch_size,
            "precision": precision,
            "layers": layers,
            "steps_per_dispatch": int(name),
            "milliseconds": 1e3 * seconds / most,
            "images_per_second": most * batch_size / seconds,
        }
        for name, seconds in median_seconds(calls, request.rounds).items()
    ]
