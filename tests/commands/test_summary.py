import json

import pytest

from alexnet_jax.__main__ import main


def test_json_has_the_contract_s_keys(capsys):
    assert main(["summary", "--variant", "torchvision", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary) == {"variant", "image_size", "parameters", "macs", "layers"}
    assert summary["parameters"] == 61_100_840
    assert summary["macs"] == 714_188_480
    assert summary["layers"][0] == {
        "name": "conv1",
        "output_shape": [55, 55, 64],
        "parameters": 23_296,
        "macs": 70_276_800,
    }


def test_table_shows_every_layer_and_the_totals(capsys):
    assert main(["summary", "--variant", "torchvision"]) == 0
    printed = capsys.readouterr().out
    for part in ("conv1", "55 x 55 x 64", "fc8", "61,100,840", "714,188,480"):
        assert part in printed


def test_options(capsys):
    options = ["--variant", "torchvision", "--num-classes", "10", "--image-size", "64"]
    assert main(["summary", *options, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["parameters"] == 57_044_810
    assert summary["image_size"] == 64


def test_bad_requests(capsys):
    assert main(["summary", "--variant", "vgg"]) == 2
    assert capsys.readouterr().err.startswith(
        "unknown variant 'vgg'; the variants are: torchvision,"
    )
    assert main(["summary", "--variant", "torchvision", "--image-size", "30"]) == 2
    assert "image_size=30 is too small" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["summary"])
    assert stop.value.code == 2


def test_commands_are_listed(capsys):
    assert main(["--help"]) == 0
    assert "Lists a variant's layers" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["dance"]) == 2
    assert capsys.readouterr().err.startswith("unknown command 'dance'.")
