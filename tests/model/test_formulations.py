"""Whole networks in both formulations."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import alexnet_jax
from alexnet_jax.errors import RequestError
from alexnet_jax.model import alexnet, fast_conv, fast_dense, functional
from alexnet_jax.model.variants import get_variant
from alexnet_jax.randomness import example_keys
from tests.references import numbers

SMALL = {"torchvision": 63, "paper2012": 67, "deepspark": 32, "cifar32": 32}


def _gradients(variant, layers, dtype):
    model = alexnet.create(
        variant, num_classes=7, image_size=SMALL[variant], layers=layers, dtype=dtype
    )
    definition, params, state = functional.split(model)
    params = numbers.weights_like(params)
    images, keys = numbers.images(4, SMALL[variant]), example_keys(0, jnp.int32(0), jnp.arange(4))

    def loss(params):
        logits, moved = definition.apply(params, state, images, keys)
        return jax.nn.logsumexp(logits, axis=-1).sum(), (logits, moved)

    return jax.jit(jax.grad(loss, has_aux=True))(params)


@pytest.mark.parametrize("variant", SMALL)
def test_formulations_are_the_same_network(variant, monkeypatch):
    monkeypatch.setattr(fast_conv, "CHUNK_BYTES", 1)  # images are few and small here
    plain, fast = (_gradients(variant, layers, jnp.float32) for layers in ("plain", "fast"))
    for layer, ours in fast[0].items():
        theirs = plain[0][layer]
        # A bias before a batch norm has no gradient but rounding errors, which are the kernel's.
        limit = 2e-5 * max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=limit)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), fast[1], plain[1]
    )


def test_features_are_the_same():
    images = numbers.images(1, 67)
    plain, fast = (
        alexnet.create("paper2012", num_classes=7, image_size=67, layers=layers).features(images)
        for layers in ("plain", "fast")
    )
    assert list(plain) == list(fast)
    assert len([name for name in plain if name.startswith("norm")]) == len(
        get_variant("paper2012").local_response_norm
    )
    for name in plain:
        np.testing.assert_allclose(fast[name], plain[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_dense_gradients_are_summed_in_float32():
    x = jnp.array(numbers.uniform("x", (8, 32)), jnp.bfloat16)
    kernel = jnp.array(numbers.uniform("kernel", (32, 16)))
    gradient = jnp.array(numbers.uniform("gradient", (8, 16)), jnp.bfloat16)
    output, pullback = jax.vjp(lambda *xs: fast_dense.dense_product(*xs, None), x, kernel)
    for_x, for_kernel = pullback(gradient)
    assert (output.dtype, for_x.dtype, for_kernel.dtype) == ("bfloat16", "bfloat16", "float32")
    wide, rounded = np.float64(x), np.float64(kernel.astype(jnp.bfloat16))
    np.testing.assert_allclose(for_kernel, wide.T @ np.float64(gradient), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.float64(output), wide @ rounded, rtol=1e-2, atol=2e-2)
    np.testing.assert_allclose(
        np.float64(for_x), np.float64(gradient) @ rounded.T, rtol=1e-2, atol=2e-2
    )


def test_unknown_formulation():
    with pytest.raises(RequestError, match="layers='quick' is not one of: plain, fast"):
        alexnet_jax.create("cifar32", layers="quick")
