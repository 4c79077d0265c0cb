import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

import alexnet_jax
from alexnet_jax.errors import RequestError
from alexnet_jax.model import functional
from alexnet_jax.model.variants import variants
from alexnet_jax.randomness import example_keys

SMALL = {"torchvision": 63, "paper2012": 67, "deepspark": 32, "cifar32": 32}


def _images(size: int, batch: int = 2) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (batch, size, size, 3))


def _model(name: str, **options):
    return alexnet_jax.create(name, num_classes=7, image_size=SMALL[name], **options)


def _params(model) -> dict:
    return functional.split(model)[1]


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_float32_and_the_last_feature(name):
    model, images = _model(name), _images(SMALL[name])
    logits = model(images)
    features = model.features(images)
    assert logits.shape == (2, 7)
    assert logits.dtype == jnp.float32
    np.testing.assert_array_equal(list(features.values())[-1], logits)


def test_features_show_before_and_after_each_relu():
    features = _model("cifar32").features(_images(32))
    assert float(features["conv1"].min()) < 0
    np.testing.assert_array_equal(features["relu1"], jnp.maximum(features["conv1"], 0))


def test_seed_decides_the_parameters():
    first, again, other = (_params(_model("cifar32", seed=seed)) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first["conv1"]["kernel"], other["conv1"]["kernel"])


def test_a_layer_is_drawn_from_its_own_name():
    """Another number of classes changes the classifier and nothing else."""
    seven = _params(alexnet_jax.create("cifar32", num_classes=7))
    ten = _params(alexnet_jax.create("cifar32", num_classes=10))
    for name in seven.keys() - {"fc6"}:
        jax.tree.map(np.testing.assert_array_equal, seven[name], ten[name])
    assert seven["fc6"]["kernel"].shape != ten["fc6"]["kernel"].shape


def test_evaluation_does_not_drop_units_and_training_does():
    model, images = _model("torchvision"), _images(63)
    np.testing.assert_array_equal(model(images), model(images))
    keys = example_keys(0, jnp.int32(0), jnp.arange(2))
    assert not np.array_equal(model(images, keys), model(images))


def test_dropout_depends_on_the_example_alone():
    """The same example draws the same mask in another batch."""
    model, images = _model("torchvision"), _images(63, batch=4)
    keys = example_keys(0, jnp.int32(0), jnp.arange(4))
    together = model(images, keys)
    np.testing.assert_allclose(model(images[2:], keys[2:]), together[2:], rtol=1e-5, atol=1e-6)


def test_dropout_rate_zero_trains_like_evaluation():
    model, images = _model("torchvision", dropout_rate=0.0), _images(63)
    keys = example_keys(0, jnp.int32(0), jnp.arange(2))
    np.testing.assert_array_equal(model(images, keys), model(images))


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_computes_near_float32(name):
    images = _images(SMALL[name])
    low, high = _model(name, dtype=jnp.bfloat16)(images), _model(name)(images)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, high, atol=0.05 * float(jnp.abs(high).max()) + 1e-3)
    leaves = jax.tree.leaves(_params(_model(name, dtype=jnp.bfloat16)))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_batch_statistics_move_in_training_only():
    model, params, state = functional.split(_model("deepspark"))
    images = 3 + 2 * _images(32, batch=8)
    keys = example_keys(0, jnp.int32(0), jnp.arange(8))
    _, unchanged = model.apply(params, state, images)
    jax.tree.map(np.testing.assert_array_equal, unchanged, state)

    _, moved = model.apply(params, state, images, keys)
    bound = model.bind(params, state)
    before_norm = np.asarray(bound.conv1(images))
    mean, variance = before_norm.mean((0, 1, 2)), before_norm.var((0, 1, 2))
    np.testing.assert_allclose(moved["bn1"]["mean"], 0.1 * mean, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(moved["bn1"]["var"], 0.9 + 0.1 * variance, rtol=1e-3)


def test_frozen_batch_norms_keep_and_use_their_stored_statistics():
    names = ("bn1", "bn2", "bn3", "bn4", "bn5")
    model, params, state = functional.split(_model("deepspark", dropout_rate=0.0, frozen=names))
    images = 3 + 2 * _images(32)
    keys = example_keys(0, jnp.int32(0), jnp.arange(2))
    trained, kept = model.apply(params, state, images, keys)
    jax.tree.map(np.testing.assert_array_equal, kept, state)
    np.testing.assert_array_equal(trained, model.apply(params, state, images)[0])


def test_functional_apply_is_the_model_under_jit():
    built = _model("cifar32")
    model, params, state = functional.split(built)
    images = _images(32)
    logits, _ = jax.jit(model.apply)(params, state, images)
    np.testing.assert_allclose(logits, built(images), rtol=1e-5, atol=1e-6)


def test_parameters_are_named_after_their_layers():
    assert set(_params(nnx.eval_shape(lambda: alexnet_jax.create("paper2012")))) == {
        *("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "vgg"}, "unknown variant 'vgg'"),
        ({"variant": "cifar32", "num_classes": 0}, "num_classes=0: a classifier needs"),
        ({"variant": "cifar32", "dropout_rate": 1.0}, r"dropout_rate=1.0 is not in \[0, 1\)"),
        ({"variant": "mindspore_cifar", "image_size": 32}, "image_size=32 is too small"),
        ({"variant": "cifar32", "seed": -1}, r"seed=-1 is not in \[0, 2\*\*32\)"),
        ({"variant": "cifar32", "seed": 2**32}, "seed=4294967296 is not in"),
    ],
)
def test_bad_requests(options, message):
    with pytest.raises(RequestError, match=message):
        alexnet_jax.create(**options)


def test_variants_are_listed():
    assert "torchvision" in alexnet_jax.variants()
    assert alexnet_jax.variants() == variants()


def test_images_of_another_size_are_refused_where_the_map_would_be_another():
    model = _model("cifar32")
    with pytest.raises(RequestError, match=r"'cifar32' takes 32 x 32 images, .*; got 224 x 224\."):
        model(_images(224, 1))
    with pytest.raises(RequestError, match=r"takes 32 x 32 images, .*; got 8 x 8\."):
        model.features(_images(8, 1))
    with pytest.raises(RequestError, match=r"\[batch, 32, 32, 3\]; got an array \[32, 32, 3\]"):
        model(_images(32, 1)[0])
    assert model(_images(33, 1)).shape == model(_images(32, 1)).shape  # a map of the same size
    averaged = _model("torchvision")
    assert jax.eval_shape(averaged, _images(averaged.image_size + 32, 1)).shape == (1, 7)


def test_no_images_have_no_logits():
    model = alexnet_jax.create("cifar32", num_classes=10)
    assert model(jnp.zeros((0, 32, 32, 3))).shape == (0, 10)
    assert model.features(jnp.zeros((0, 32, 32, 3)), flatten=True)["fc6"].shape[0] == 0
