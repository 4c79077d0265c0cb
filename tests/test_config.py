import json
from pathlib import Path

import pytest

from alexnet_jax.config import (
    default_config,
    from_json,
    get,
    load,
    override,
    switches,
    validate,
)
from alexnet_jax.config import rules as rules_module
from alexnet_jax.errors import RequestError
from alexnet_jax.model.variants import get_variant


def _override(*assignments: tuple[str, str]):
    config = default_config()
    return config, [fault.text for fault in override(config, assignments)]


def test_the_defaults_are_valid():
    assert validate(default_config()) == []


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("batch_size", "32", 32),
        ("optimizer.learning_rate", "1e-3", 1e-3),
        ("optimizer.learning_rate", "1", 1.0),
        ("optimizer.nesterov", "true", True),
        ("checkpoint.keep_best", "False", False),
        ("data.path", "/some/where", "/some/where"),
        ("data.mean", "(0.1, 0.2, 0.3)", (0.1, 0.2, 0.3)),
        ("data.image_size", "64", 64),
        ("model.num_classes", "7", 7),
        ("optimizer.freeze", "conv1,conv2", ("conv1", "conv2")),
        ("optimizer.freeze", "('conv1', \"bn1\")", ("conv1", "bn1")),
        ("optimizer.freeze", "()", ()),
        ("model.dropout_rate", "0.1", 0.1),
        ("backend_options.cpu_device_count", "4", 4),
        ("backend_options.log_directory", "logs", "logs"),
    ],
)
def test_override_keeps_the_type(key, text, value):
    config, faults = _override((key, text))
    assert faults == []
    assert get(config, key) == value
    assert type(get(config, key)) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        (
            "batch_size",
            "many",
            "--config.batch_size='many' is not a whole number (the recipe has 256).",
        ),
        (
            "batch_size",
            "1.5",
            "--config.batch_size='1.5' is not a whole number (the recipe has 256).",
        ),
        ("optimizer.nesterov", "maybe", "--config.optimizer.nesterov='maybe' is not true or false"),
        ("data.mean", "0.5", "--config.data.mean='0.5' is not a tuple of numbers"),
        ("optimizer.momentun", "1", "there is no such key; did you mean optimizer.momentum?"),
        ("no.such.key", "1", "--config.no.such.key: there is no such key"),
        (
            "optimizer",
            "1",
            "--config.optimizer is a section; set its keys, e.g. optimizer.accumulate_steps.",
        ),
    ],
)
def test_bad_overrides(key, text, message):
    config, faults = _override((key, text))
    assert len(faults) == 1
    assert message in faults[0]
    assert config.to_dict() == default_config().to_dict()


@pytest.mark.parametrize(
    ("text", "value"),
    [("x", "x"), ("'2'", "2"), ("3", 3), ("{[]: 1}", "{[]: 1}"), ("(" * 9999, "(" * 9999)],
)
def test_a_plugin_s_option_is_any_value_whatever_it_was_before(text, value):
    config, faults = _override(("backend_options.a", "1"), ("backend_options.a", text))
    assert faults == []
    assert config.backend_options.a == value


def test_all_bad_overrides_are_reported():
    _, faults = _override(("batch_size", "x"), ("seed", "3"), ("foo", "1"), ("model.variants", "a"))
    assert len(faults) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.variant": "vgg"},
            "model.variant='vgg' is unknown; use one of: torchvision, paper2012",
        ),
        (
            {"model.precision": "int8"},
            "model.precision='int8' is unknown; use one of: auto, float32",
        ),
        ({"data.source": "cloud"}, "data.source='cloud' is unknown"),
        ({"eval.protocol": "best"}, "eval.protocol='best' is unknown"),
        ({"schedule.name": "linear"}, "schedule.name='linear' is unknown"),
        ({"parallelism": "magic"}, "parallelism='magic' is unknown"),
        ({"augment.crop": "zoom"}, "augment.crop='zoom' is unknown"),
        ({"seed": None}, "seed=None is not possible; the default is 0."),
        ({"data.mean": None}, "data.mean=None is not possible; the default is (0.485, 0.456,"),
        ({"schedule.step_factor": None}, "schedule.step_factor=None is not possible; the default"),
        (
            {"schedule.step_factor": -1.0},
            "schedule.step_factor=-1.0 is not possible; use a number in (0,",
        ),
        ({"schedule.step_factor": float("nan")}, "schedule.step_factor=nan is not possible"),
        (
            {"data.image_size": 0},
            "data.image_size=0 is too small for 'torchvision'; use at least 63.",
        ),
        ({"seed": -1}, "seed=-1 is not possible; use a whole number from 0 to 4294967295."),
        ({"seed": 2**32}, "seed=4294967296 is not possible; use a whole number from 0 to"),
        ({"seed": 2**64}, "seed=18446744073709551616 is not possible; use a whole number from 0"),
        ({"batch_size": 0}, "batch_size=0 is not possible; use at least 1."),
        ({"checkpoint.keep": 0}, "checkpoint.keep=0 is not possible; use at least 1."),
        ({"optimizer.learning_rate": float("nan")}, "optimizer.learning_rate=nan is not possible"),
        (
            {"optimizer.momentum": 1.0},
            "optimizer.momentum=1.0 is not possible; use a number in [0, 1).",
        ),
        ({"model.dropout_rate": -0.1}, "model.dropout_rate=-0.1 is not possible"),
        ({"augment.flip_probability": 1.5}, "augment.flip_probability=1.5 is not possible"),
        ({"augment.crop_area": (0.5, 0.1)}, "augment.crop_area=(0.5, 0.1) is not possible"),
        ({"data.std": (0.1, 0.1, 0.0)}, "data.std=(0.1, 0.1, 0.0) is not possible"),
        (
            {"optimizer.nesterov": True, "optimizer.momentum": 0.0},
            "optimizer.nesterov=True needs optimizer.momentum above 0.",
        ),
        (
            {"schedule.warmup_epochs": 100.0},
            "schedule.warmup_epochs=100.0 is longer than the run, num_epochs=90.",
        ),
        (
            {"data.image_size": 62},
            "data.image_size=62 is too small for 'torchvision'; use at least 63.",
        ),
        (
            {"optimizer.freeze": ("conv1", "conv9", "norm1")},
            "optimizer.freeze: 'torchvision' has no layer conv9 or norm1; its layers are: conv1,",
        ),
        (
            {"optimizer.freeze": get_variant("torchvision").layer_names},
            "optimizer.freeze names every layer, so nothing is left to train",
        ),
        (
            {"optimizer.head_learning_rate_factor": -1.0},
            "optimizer.head_learning_rate_factor=-1.0 is not possible",
        ),
        (
            {"model.variant": "cifar32", "eval.resize_pixels": 256},
            "eval.resize_pixels=256 leaves the network the middle 32 pixels of 256; use at most 64, or 0",
        ),
        ({"eval.resize_pixels": 200}, "eval.resize_pixels=200 is less than the 224 pixels"),
        (
            {"schedule.step_epochs": float("inf")},
            "schedule.step_epochs=inf is not possible; use a finite number.",
        ),
        (
            {"schedule.warmup_epochs": float("inf")},
            "schedule.warmup_epochs=inf is not possible; use a finite number.",
        ),
        (
            {"optimizer.learning_rate": float("inf")},
            "optimizer.learning_rate=inf is not possible; use a finite number.",
        ),
        (
            {"health.stall_seconds": float("inf")},
            "health.stall_seconds=inf is not possible; use at most 2147483647, or 0 for never.",
        ),
        (
            {"health.max_stall_seconds": 1e11},
            "health.max_stall_seconds=100000000000.0 is not possible; use at most 2147483647, or 0",
        ),
        (
            {"data.synthetic_examples": 10**26},
            f"data.synthetic_examples={10**26} is not possible; use at most 2147483647.",
        ),
        (
            {"data.image_size": 10**6},
            "data.image_size=1000000 is not possible; use at most 16384.",
        ),
        (
            {"augment.crop_resize_pixels": 10**6},
            "augment.crop_resize_pixels=1000000 is not possible; use at most 16384.",
        ),
        (
            {"augment.crop": "pad", "augment.crop_padding_pixels": 224},
            "augment.crop_padding_pixels=224 would let a crop be padding alone; use less than the 224 pixels",
        ),
        (
            {"model.num_classes": 10**12},
            "model.num_classes=1000000000000 is not possible; use at most 2147483647.",
        ),
        (
            {"augment.crop_area": ("0.1", 1.0)},
            "augment.crop_area=('0.1', 1.0) is not possible; use two fractions, 0 < low <= high",
        ),
        ({"augment.crop_aspect": (None, 1.0)}, "augment.crop_aspect=(None, 1.0) is not possible"),
        ({"augment.crop_aspect": (1.0, float("inf"))}, "augment.crop_aspect=(1.0, inf) is not"),
        ({"data.mean": (0.1, "x", 0.1)}, "data.mean=(0.1, 'x', 0.1) is not possible; use three"),
        ({"data.std": ("1", "1", "1")}, "data.std=('1', '1', '1') is not possible; use three"),
        ({"schedule.step_fractions": ("0.5",)}, "schedule.step_fractions=('0.5',) is not possible"),
    ],
)
def test_validate_names_the_fault(changes, message):
    config = default_config()
    config.update_from_flattened_dict(changes)
    faults = validate(config)
    assert len(faults) == 1
    assert message in faults[0].text
    assert faults[0].key in changes


def test_made_data_have_no_classes_of_their_own():
    config = default_config()
    config.model.num_classes, config.data.source = None, "synthetic"
    (fault,) = validate(config)
    assert fault.text.startswith("model.num_classes=None takes the data's, but made data have none")


def test_the_number_of_classes_can_be_set_after_a_recipe_left_it_to_the_data():
    config = default_config()
    config.model.num_classes = None
    assert override(config, [("model.num_classes", "7")]) == []
    assert config.model.num_classes == 7


def test_validate_reports_everything_at_once():
    config = default_config()
    config.batch_size, config.model.variant, config.optimizer.momentum = 0, "vgg", 2.0
    assert {fault.key for fault in validate(config)} == {
        *("batch_size", "model.variant", "optimizer.momentum")
    }


class TestLoad:
    def _file(self, tmp_path, body: str) -> str:
        path = tmp_path / "recipe.py"
        path.write_text(f"from alexnet_jax.config import default_config, switches\n{body}")
        return str(path)

    def test_argument_is_passed_on(self, tmp_path):
        body = "def get_config(a=''):\n  c = default_config(); c.seed = len(a); return c\n"
        path = self._file(tmp_path, body)
        assert load(path).seed == 0
        assert load(f"{path}:abc").seed == 3

    @pytest.mark.parametrize(
        ("body", "argument", "message"),
        [
            ("def get_config():\n  return default_config()\n", ":smoke", "failed: TypeError"),
            (
                "def get_config():\n  return {}\n",
                "",
                r"returned dict, not a ConfigDict; begin with",
            ),
            (
                "from ml_collections import ConfigDict\ndef get_config():\n  return ConfigDict()\n",
                "",
                r"a ConfigDict without .*, \.\.\.; begin with alexnet_jax\.config\.default_config\(\)",
            ),
            (
                "def get_config():\n  c = default_config().unlock(); del c.model.variant; return c\n",
                "",
                r"a ConfigDict without model\.variant; begin with",
            ),
            ("def get_config(:\n", "", "failed: SyntaxError"),
            ("x = 1\n", "", "failed: AttributeError.*get_config"),
            (
                "def get_config():\n  c = default_config(); c.batchsize = 1; return c\n",
                "",
                "failed: AttributeError.*batchsize",
            ),
            (
                "def get_config():\n  c = default_config(); c.batch_size = 'x'; return c\n",
                "",
                "failed: TypeError.*batch_size",
            ),
            (
                "def get_config(a):\n  switches(a, 'smoke'); return default_config()\n",
                ":smok,float32",
                "unknown argument float32, smok; this recipe takes smoke.",
            ),
        ],
    )
    def test_bad_files(self, tmp_path, body, argument, message):
        with pytest.raises(RequestError, match=f"(?s)recipe.py.*{message}"):
            load(self._file(tmp_path, body) + argument)

    def test_missing_file(self):
        with pytest.raises(
            RequestError, match="--config='configs/imagnet.py': there is no such file"
        ):
            load("configs/imagnet.py")


CONFIG_FILE = Path("run/config.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": "x"}, "seed is 'x', not a whole number"),
        ({"seed": {"a": 1}}, "seed is {'a': 1}, not a whole number"),
        ({"data": {"image_size": 1.5}}, "data.image_size is 1.5, not a whole number"),
        ({"data": {"mean": 5}}, "data.mean is 5, not a tuple of numbers"),
        ({"model": {"variant": ["cifar32"]}}, "model.variant is ['cifar32'], not text"),
        ({"optimizer": {"nesterov": 1}}, "optimizer.nesterov is 1, not true or false"),
        ({"model": 5}, "model is 5, not a section"),
        ({"model": None}, "model is None, not a section"),
    ],
)
def test_values_of_another_type_in_a_file_are_named(values, message):
    with pytest.raises(RequestError) as raised:
        from_json(values, CONFIG_FILE)
    assert str(raised.value) == f"run/config.json is damaged: {message}; restore it, or run again."


def test_what_was_written_is_read_again():
    config = default_config()
    config.optimizer.freeze, config.data.image_size = ("conv1",), 64
    config.backend_options.nested = {"a": {"b": 1}}
    again = from_json(json.loads(config.to_json()), CONFIG_FILE)
    assert again.to_dict() == config.to_dict()


def test_switches():
    assert switches("", "smoke") == frozenset()
    assert switches("smoke,float32", "smoke", "float32") == {"smoke", "float32"}


def test_every_key_with_a_rule_exists():
    config = default_config()
    rules = [rule[0] for rule in rules_module.RULES]
    for key in (*rules_module.CHOICES, *rules_module.AT_LEAST, *rules_module.FRACTIONS, *rules):
        get(config, key)


def test_none_is_given_where_it_has_a_meaning():
    config = default_config()
    config.eval.resize_pixels = 256
    given = ["model.num_classes", "eval.resize_pixels", "model.dropout_rate", "published.top1"]
    assert override(config, [(key, "None") for key in given]) == []
    assert [get(config, key) for key in given] == [None] * len(given)
    assert override(config, [("model.num_classes", "7")]) == []
    assert config.model.num_classes == 7
    (fault,) = override(config, [("batch_size", "None")])
    assert "--config.batch_size='None' is not a whole number" in fault.text
