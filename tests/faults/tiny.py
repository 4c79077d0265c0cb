"""The run that faults are injected into: the 32-pixel network on made images, 12 steps an epoch."""

from ml_collections import ConfigDict

from tests.train.runs import small_config


def get_config() -> ConfigDict:
    return small_config(
        **{
            "num_epochs": 4,
            "log_every_steps": 1,
            "checkpoint.every_steps": 4,
            "data.num_threads": 1,
        }
    )
