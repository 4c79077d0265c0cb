"""Every setting with its default, the rules between them, and how a configuration is read and overridden."""

from alexnet_jax.config.defaults import default_config
from alexnet_jax.config.keys import get
from alexnet_jax.config.override import override
from alexnet_jax.config.recipe import from_json, load, smoke, switches
from alexnet_jax.config.rules import validate

__all__ = [
    "default_config",
    "from_json",
    "get",
    "load",
    "override",
    "smoke",
    "switches",
    "validate",
]
