import jax
import pytest

from alexnet_jax.backend import capabilities
from alexnet_jax.errors import RequestError


def test_a_cpu_computes_in_float32():
    assert capabilities.automatic_precision(jax.devices("cpu")[0]) == "float32"


@pytest.mark.parametrize("dtype", capabilities.HALVES)
def test_half_precisions_are_tried_on_the_device(dtype):
    assert capabilities.differentiates(jax.devices("cpu")[0], dtype)


class Accelerator:
    platform = "ascend"


@pytest.mark.parametrize(
    ("runs", "supported", "precision"),
    [
        ({"bfloat16", "float16"}, ("float32", "bfloat16", "float16"), "bfloat16"),
        ({"float16"}, ("float32", "bfloat16", "float16"), "float16"),
        ({"float16"}, ("float32", "bfloat16"), "float32"),
        (set(), ("float32", "bfloat16", "float16"), "float32"),
    ],
)
def test_automatic_precision(monkeypatch, runs, supported, precision):
    monkeypatch.setattr(capabilities, "differentiates", lambda device, dtype: dtype in runs)
    assert capabilities.automatic_precision(Accelerator(), supported) == precision


def test_the_cpu_donates():
    assert capabilities.donates(jax.devices("cpu")[0])


def test_all_reduce_adds_up():
    assert capabilities.all_reduce(jax.devices("cpu")) == 10
    capabilities.check_all_reduce("cpu", jax.devices("cpu"))


def test_a_wrong_sum_is_refused(monkeypatch):
    monkeypatch.setattr(capabilities, "all_reduce", lambda devices: 7.0)
    capabilities.check_all_reduce("ascend", jax.devices("cpu")[:1])
    with pytest.raises(RequestError) as refusal:
        capabilities.check_all_reduce("ascend", jax.devices("cpu"))
    assert str(refusal.value) == (
        "backend 'ascend' cannot add up over its 4 devices: it gave 7 and not 10. "
        "Try: one device, e.g. ASCEND_RT_VISIBLE_DEVICES=0."
    )


def test_memory_is_left_out_where_it_is_not_counted():
    class Device:
        def __init__(self, statistics):
            self.statistics = statistics

        def memory_stats(self):
            return self.statistics

    assert capabilities.peak_memory_bytes(Device(None)) is None
    assert capabilities.peak_memory_bytes(Device({"peak_bytes_in_use": 5})) == 5


def test_automatic_layers():
    assert capabilities.automatic_layers(jax.devices("cpu")[0]) == "fast"
    assert capabilities.automatic_layers(Accelerator()) == "plain"
