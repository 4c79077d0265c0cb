"""A run as it lies on disk, read so that a run killed while it wrote can be read too."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet_jax.errors import RequestError, reading
from alexnet_jax.train.run_card import RUN_CARD_FILE
from alexnet_jax.train.writers import CONFIG_FILE, METRICS_FILE, read_object

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run wrote.

    Attributes:
      name: To tell it from others: the last part of its directory's name.
      workdir: Its directory.
      settings: Of ``config.json``.
      records: The readable lines of ``metrics.jsonl``, in order.
      damaged_lines: The numbers of the unreadable ones, from 1; a last line cut short by a kill is not among them.
      card: Of ``run.json``; None before the run's end, and again once it was continued with other settings.
    """

    name: str
    workdir: Path
    settings: Mapping[str, Any]
    records: list[Record]
    damaged_lines: list[int]
    card: Mapping[str, Any] | None

    def split(self, split: str) -> list[Record]:
        """Returns the records of "train" or "eval"."""
        return [record for record in self.records if record["split"] == split]

    def series(self, split: str, name: str) -> tuple[list[float], list[float]]:
        """Returns the epochs and the values of one metric, where it was recorded."""
        rows = [record for record in self.split(split) if _is_number(record.get(name))]
        return [row["epoch"] for row in rows], [row[name] for row in rows]


def read_run(workdir: Path) -> Run:
    """Reads a workdir.

    Raises:
      RequestError: If it is not one, or its settings cannot be read.
    """
    if not (workdir / CONFIG_FILE).is_file():
        what = "has no config.json" if workdir.is_dir() else "does not exist"
        raise RequestError(f"{workdir} is no run: it {what}; name a directory that a run wrote to.")
    records, damaged = read_records(workdir / METRICS_FILE)
    name = workdir.resolve().name
    settings = read_object(workdir / CONFIG_FILE)
    return Run(name, workdir, settings, records, damaged, _card(workdir, settings))


def read_runs(workdirs: Sequence[Path]) -> list[Run]:
    """Reads workdirs; runs whose directories have the same name are told apart by the whole path.

    Raises:
      RequestError: If one is no run.
    """
    runs = [read_run(workdir) for workdir in workdirs]
    names = [run.name for run in runs]
    return [
        dataclasses.replace(run, name=str(run.workdir)) if names.count(run.name) > 1 else run
        for run in runs
    ]


def read_records(path: Path) -> tuple[list[Record], list[int]]:
    """Returns the records of a ``metrics.jsonl`` and the numbers of its damaged lines; nothing where there is none.

    Raises:
      RequestError: If it cannot be read.
    """
    with reading(path):
        if not path.exists():
            return [], []
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    records, damaged = [], []
    for number, line in enumerate(lines, 1):
        record = _parse(line)
        if record is not None:
            records.append(record)
        elif line.endswith("\n") and line.strip():  # else a kill cut the last one short
            damaged.append(number)
    return records, damaged


def _parse(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # RecursionError: a thousand brackets
        return None
    sound = (
        isinstance(record, dict)
        and record.get("split") in ("train", "eval", "event")
        and _is_number(record.get("step"))
        and _is_number(record.get("epoch"))
    )
    return record if sound else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _card(workdir: Path, settings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the run card, unless the run has been continued with other settings since it was written."""
    path = workdir / RUN_CARD_FILE
    card = read_object(path) if path.exists() else None
    return card if card is not None and card.get("config") == settings else None
