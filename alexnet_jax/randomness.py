"""Random keys by address: every key is a seed, a name and indices folded together; no stream is shared."""

import zlib

import jax


def named_key(seed: int, name: str) -> jax.Array:
    """Returns the PRNG key of one named use of randomness, e.g. ``named_key(0, "conv1")``."""
    return jax.random.fold_in(jax.random.key(seed), address(name))


def address(name: str) -> int:
    """Returns the integer that stands for ``name`` in ``jax.random.fold_in``: its CRC-32."""
    return zlib.crc32(name.encode())


def example_keys(seed: int, step: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns one key for each example of a training step.

    Args:
      seed: The run's seed.
      step: Scalar integer, the global step.
      rows: Integers [batch], each example's row in the *global* batch. The key depends on nothing else, so an
        example draws the same numbers however the batch is spread over devices and processes.

    Returns:
      Keys [batch].
    """
    step_key = jax.random.fold_in(named_key(seed, "examples"), step)
    return jax.vmap(lambda row: jax.random.fold_in(step_key, row))(rows)
