import dataclasses
from collections.abc import Iterator

import jax
import pytest

from alexnet_jax.model.variants import VARIANTS
from tests.references.networks import NETWORKS

HIDDEN = 512


@pytest.fixture(scope="module")
def narrow() -> Iterator[int]:
    """Hidden layers of 512 units in place of 4096, for what holds at every width; returns the width."""
    with pytest.MonkeyPatch.context() as patch:
        for name, row in VARIANTS.items():
            hidden = (HIDDEN,) * len(row.hidden)
            patch.setitem(VARIANTS, name, dataclasses.replace(row, hidden=hidden))
        for name, layers in NETWORKS.items():
            written = [("dense", HIDDEN) if layer == ("dense", 4096) else layer for layer in layers]
            patch.setitem(NETWORKS, name, tuple(written))
        yield HIDDEN


@pytest.fixture(scope="module")
def quick_compilation() -> Iterator[None]:
    """Compiles in a third of the time what is run for a few steps, for comparisons with a tolerance.

    Nothing compiled before is used, and nothing of this afterwards: what is the same to the bit depends on it.
    """
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
