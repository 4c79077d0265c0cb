"""Three prepared situations, each with its limit; the peers; and the numbers behind them."""

import dataclasses
import json
import sys
import time

import pytest

from alexnet_jax.__main__ import main
from alexnet_jax.data import decode
from alexnet_jax.model.summary import summarize
from alexnet_jax.model.variants import VARIANTS, Conv, get_variant, variants
from alexnet_jax.train import ceilings, limits, peer_torch, timing
from tests.commands.test_benchmark import KEYS as STEP_KEYS
from tests.commands.test_benchmark_input import PARTS
from tests.data.photos import jpeg

KEYS = {*STEP_KEYS, "source", *PARTS, "cpu_seconds_per_image", "limit", "end_to_end"}


@pytest.fixture(autouse=True)
def quick_ceilings(monkeypatch):
    monkeypatch.setattr(ceilings, "PRODUCT_SIZE", 512)
    monkeypatch.setattr(ceilings, "COPY_BYTES", 2**22)


@pytest.fixture
def tiny(monkeypatch):
    """A network of one narrow convolution, all but free to train."""
    row = dataclasses.replace(
        get_variant("cifar32"), name="tiny", convolutions=(Conv(4, 8, stride=8, padding=0),)
    )
    monkeypatch.setitem(VARIANTS, "tiny", row)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight photographs of 1000 x 750 pixels."""
    root = tmp_path_factory.mktemp("photos")
    for split in ("train", "val"):
        for number in range(8):
            file = root / split / f"class{number % 2}" / f"{split}{number}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(jpeg(number + 8 * (split == "val"), 1000, 750))
    return root


def _measure(capsys, source: str, path, variant: str) -> dict:
    options = ["--source", source, "--path", str(path), "--variant", variant, "--json"]
    fixed = ["--batch-size", "8", "--seconds", "0.1", "--steps", "3"]
    assert main(["benchmark", "all", *options, *fixed]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == KEYS
    assert figures["end_to_end"] > 0
    return figures


def test_a_slow_decoder_limits(photos, tiny, monkeypatch, capsys):
    original = decode.random_resized_crop

    def slow(*arguments):
        decoder = original(*arguments)

        def wait(*image):
            time.sleep(0.02)
            return decoder(*image)

        return wait

    monkeypatch.setattr(decode, "random_resized_crop", slow)
    figures = _measure(capsys, "folder", photos, "tiny")
    assert figures["limit"] == "input"
    assert figures["decode"] < 8 / 0.02
    assert figures["end_to_end"] < figures["images_per_second"]


def test_fast_packed_data_leave_the_step_as_the_limit(photos, tmp_path, capsys):
    assert main(["pack", f"folder:{photos}", str(tmp_path / "out"), "--size=40"]) == 0
    capsys.readouterr()
    figures = _measure(capsys, "packed", tmp_path / "out", "cifar32")
    assert figures["limit"] == "step"
    assert figures["gather"] > figures["images_per_second"]


def test_under_pmap_images_have_an_axis_of_devices(tiny, capsys):
    options = ["--parallelism", "pmap", "--source", "synthetic", "--variant", "tiny", "--json"]
    fixed = ["--batch-size", "8", "--seconds", "0.1", "--steps", "3"]
    assert main(["benchmark", "all", *options, *fixed]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == KEYS
    assert (figures["parallelism"], figures["devices"]) == ("pmap", 4)
    assert figures["augment"] > 0


def test_a_tiny_model_is_limited_by_decoding(photos, tiny, capsys):
    figures = _measure(capsys, "folder", photos, "tiny")
    assert figures["limit"] == "input"
    assert figures["images_per_second"] > figures["decode"]


RATES = {"read": 400.0, "decode": 100.0, "gather": None, "transfer": 90.0, "images_per_second": 90}


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "input"),  # read and decoded by the same threads: 1 / (1/400 + 1/100) = 80
        ({"read": 4000.0}, "transfer"),
        ({"read": None, "decode": None, "gather": 500.0}, "transfer"),
        ({"decode": 500.0, "transfer": 95.0}, "step"),
    ],
)
def test_the_slowest_part_is_the_limit(changes, limit):
    assert limits.name_limit(RATES | changes) == limit


@pytest.mark.parametrize(
    ("figures", "first"),
    [
        ({"limit": "input", "decode": 1.0}, "decode once: python -m alexnet_jax pack"),
        ({"limit": "input", "decode": None}, "keep the data on the device"),
        ({"limit": "transfer", "decode": None}, "keep the data on the device"),
        ({"limit": "step", "decode": 1.0, "precision": "float32"}, "model.precision='bfloat16'"),
        ({"limit": "step", "decode": 1.0, "precision": "bfloat16"}, "a larger batch_size"),
    ],
)
def test_what_would_lift_it(figures, first):
    lifts = limits.remedies(figures, threads=2, processors=8, fits_device=True)
    assert lifts[0].startswith(first)
    if figures["limit"] == "input" and figures["decode"]:
        assert "data.num_threads=8, now 2" in lifts[1]


def test_missing_peers_are_explained(photos, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    step = ["benchmark", "step", "--variant", "cifar32", "--batch-size", "4", "--against", "torch"]
    assert main(step) == 2
    assert "PyTorch is not installed here; pip install torch" in capsys.readouterr().err
    data = ["benchmark", "input", "--batch-size", "4", "--against", "tf.data"]
    assert main([*data, "--path", str(photos)]) == 2
    assert "TensorFlow is not installed here" in capsys.readouterr().err
    assert main([*data, "--source", "synthetic"]) == 2
    assert "use it with --source folder" in capsys.readouterr().err


def test_torch_steps_in_turns_with_ours(tiny, capsys):
    pytest.importorskip("torch")
    options = ["--variant", "tiny", "--batch-size", "8", "--steps", "3", "--json", "--floors"]
    assert main(["benchmark", "step", *options, "--against", "torch"]) == 0
    figures = json.loads(capsys.readouterr().out)
    rate, peer = figures["images_per_second"], figures["torch_images_per_second"]
    assert figures["times_torch"] == pytest.approx(rate / peer)
    assert figures["arithmetic_floor_milliseconds"] < figures["step_milliseconds"]
    assert figures["bandwidth_floor_milliseconds"] > 0


@pytest.mark.parametrize("on_gpu", [False, True])
def test_torch_on_a_gpu_multiplies_and_tunes_as_xla_does(on_gpu, monkeypatch):
    """As far as the settings, which are made before the network is."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    precision = torch.get_float32_matmul_precision()

    def stop(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(peer_torch, "build", stop)
    sizes = {"image_size": 32, "num_classes": 10, "batch_size": 4, "precision": "float32"}
    try:
        with pytest.raises(InterruptedError):
            peer_torch.training_step(get_variant("cifar32"), **sizes, on_gpu=on_gpu)
        assert torch.get_float32_matmul_precision() == ("high" if on_gpu else precision)
        assert torch.backends.cudnn.benchmark == on_gpu
    finally:
        torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize("name", variants())
def test_the_peer_is_the_same_network(name):
    torch = pytest.importorskip("torch")
    row = get_variant(name)
    with torch.device("meta"):
        network = peer_torch.build(row, image_size=row.image_size, num_classes=7)
        images = torch.empty(2, 3, row.image_size, row.image_size)
        assert network(images).shape == (2, 7)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == summarize(name, num_classes=7).parameters


def test_calls_take_turns(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def call(name, seconds):
        order.append(name)
        now[0] += seconds if order.count(name) > timing.WARM_UP_ROUNDS else 100

    calls = {"a": lambda: call("a", 2.0), "b": lambda: call("b", 5.0)}
    assert timing.median_seconds(calls, 3) == {"a": 2, "b": 5}
    assert order == ["a", "b"] * 5


def test_the_bytes_of_a_step():
    """torchvision: 61,100,840 parameters five times in float32; conv and dense outputs written and read."""
    outputs = 64 * 55**2 + 192 * 27**2 + (384 + 256 + 256) * 13**2 + 4096 + 4096 + 1000
    expected = 5 * 4 * 61_100_840 + 2 * 64 * outputs * 2
    assert ceilings.step_bytes(summarize("torchvision"), 64, 2) == expected
