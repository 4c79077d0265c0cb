"""What a run leaves behind while it trains: ``metrics.jsonl`` and TensorBoard events."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
TENSORBOARD_DIRECTORY = "tensorboard"


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file at once: readers see the old or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


class MetricsWriter:
    """Appends records to ``metrics.jsonl`` and their numbers to TensorBoard."""

    def __init__(self, workdir: Path, start_step: int):
        """Opens both, without the records after ``start_step``: that part of a killed run is trained again."""
        self._path = workdir / METRICS_FILE
        if self._path.exists():
            kept = [line for line in self._lines() if json.loads(line)["step"] <= start_step]
            temporary = self._path.with_name(f"{METRICS_FILE}.tmp")
            temporary.write_text("".join(kept))
            os.replace(temporary, self._path)
        self._file = self._path.open("a")
        self._events = SummaryWriter(
            str(workdir / TENSORBOARD_DIRECTORY), purge_step=start_step + 1, write_to_disk=True
        )

    def write(self, record: dict[str, Any]) -> None:
        """Adds one record; it has "step" and "split" and otherwise numbers."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in record.items():
            if name not in ("step", "split"):
                self._events.add_scalar(f"{record['split']}/{name}", value, record["step"])

    def picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Adds a picture, uint8 [height, width, 3 or 4], to TensorBoard."""
        self._events.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Writes out what is buffered."""
        self._file.close()
        self._events.close()

    def _lines(self) -> list[str]:
        """Returns the file's complete lines; a killed run can leave a part of one at the end."""
        return [
            line for line in self._path.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]


class NoWriter:
    """Stands in for ``MetricsWriter`` in processes that do not write."""

    def write(self, record: dict[str, Any]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the records of a run's ``metrics.jsonl``, in order."""
    return [json.loads(line) for line in (workdir / METRICS_FILE).read_text().splitlines()]
