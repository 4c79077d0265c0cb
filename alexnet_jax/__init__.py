"""AlexNet in JAX and Flax: every published variant and recipe.

>>> import jax, alexnet_jax
>>> model = alexnet_jax.create("cifar32", num_classes=10, seed=0)
>>> images = jax.numpy.zeros((1, 32, 32, 3))  # float NHWC, normalised
>>> model(images).shape
(1, 10)
>>> list(model.features(images))[:3]
['conv1', 'relu1', 'pool1']
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0"

if TYPE_CHECKING:
    from alexnet_jax.data.preprocess import preprocess as preprocess
    from alexnet_jax.library import load as load
    from alexnet_jax.library import look as look
    from alexnet_jax.library import save as save
    from alexnet_jax.model.alexnet import AlexNet as AlexNet
    from alexnet_jax.model.alexnet import create as create
    from alexnet_jax.model.variants import variants as variants

# Loaded at first use: flax itself imports absl and rich, which `import alexnet_jax` must not.
_PUBLIC = {
    "AlexNet": "alexnet_jax.model.alexnet",
    "create": "alexnet_jax.model.alexnet",
    "load": "alexnet_jax.library",
    "look": "alexnet_jax.library",
    "preprocess": "alexnet_jax.data.preprocess",
    "save": "alexnet_jax.library",
    "variants": "alexnet_jax.model.variants",
}
__all__ = ["AlexNet", "__version__", "create", "load", "look", "preprocess", "save", "variants"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'alexnet_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
