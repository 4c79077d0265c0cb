"""The training command on disks that fail at a fixed save: unshare --mount python -m tests.faults.disks DIR.

The run itself spoils and mends its disk, a tmpfs, so that nothing depends on its speed. One process runs every case:
it imports and compiles once. DIR gets CASE.log and CASE.json of each.
"""

import contextlib
import dataclasses
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

from alexnet_jax import main
from alexnet_jax.train import checkpoint
from alexnet_jax.train.checkpoint_writer import Checkpoints
from alexnet_jax.train.writers import read_metrics
from tests.faults import harness

SIZE = 120 * 2**20  # bytes
CHECKPOINT = 17 * 2**20  # a little less
NEVER = 0


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _fill(workdir: Path, leave: int) -> None:
    """Writes a file until ``leave`` bytes remain."""
    with (workdir / "ballast").open("ab", buffering=0) as ballast:
        for size in (2**20, 2**12):
            with contextlib.suppress(OSError):
                while ballast.write(bytes(size)) == size:
                    pass
        ballast.truncate(ballast.tell() - leave)


def _full(leave: int = 0) -> Callable[[Path], None]:
    return lambda workdir: _fill(workdir, leave)


def _make_room(workdir: Path) -> None:
    (workdir / "ballast").unlink()


def _make_read_only(workdir: Path) -> None:
    # Over itself: a mount with files open for writing cannot become read-only.
    _mount("--bind", workdir, workdir)
    _mount("-o", "remount,ro,bind", workdir)


def _make_writable(workdir: Path) -> None:
    subprocess.run(["umount", "--lazy", workdir], check=True)


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault, from the save of one step until that of another, ``NEVER`` for the end of the run."""

    spoil: Callable[[Path], None]
    mend: Callable[[Path], None]
    first: int
    mended: int
    max_failed_saves: int


CASES = {
    "full": Case(_full(), _make_room, 12, 20, 5),
    "full for ever": Case(_full(leave=CHECKPOINT // 4), _make_room, 12, NEVER, 1),
    "read-only": Case(_make_read_only, _make_writable, 12, 20, 5),
    "read-only for ever": Case(_make_read_only, _make_writable, 12, NEVER, 1),
}
# Whatever of a checkpoint there is room for: files, sums, or all but its name.
for _number in range(harness.count(0, 20)):
    _room = harness.draw(f"disk {_number}").randrange(CHECKPOINT)
    CASES[f"full but for {_room}"] = Case(_full(_room), _make_room, 12, 20, 5)


def _run(case: Case, workdir: Path) -> list[int]:
    """Trains, then mends what was not mended and starts once more; returns the exit statuses."""
    save = Checkpoints.save

    def spoiled(self: Checkpoints, step: int, *others: object) -> None:
        self.wait()  # as it would itself; what was written before is not harmed
        if step == case.first:
            case.spoil(workdir)
        if step == case.mended:
            case.mend(workdir)
        save(self, step, *others)

    settings = f"--config.checkpoint.max_failed_saves={case.max_failed_saves}"
    command = harness.command(workdir, settings, "--config.num_epochs=2")[2:]
    Checkpoints.save = spoiled
    try:
        statuses = [main.main(command)]
    finally:
        Checkpoints.save = save
    if case.mended == NEVER:
        case.mend(workdir)
        statuses.append(main.main(command))
    return statuses


def _event_steps(workdir: Path) -> list[int]:
    """Returns the steps of TensorBoard's training losses, as far as its files can be read."""
    steps = []
    for path in sorted(workdir.glob("tensorboard/*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack_from("<Q", data)
            event = Event.FromString(data[12 : 12 + size])
            steps += [event.step for value in event.summary.value if value.tag == "train/loss"]
            data = data[16 + size :]
    return steps


def _main(out: Path) -> None:
    for name, case in CASES.items():
        workdir = out / name
        workdir.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={SIZE}", "none", workdir)
        with (out / f"{name}.log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        result = {
            "statuses": _run(case, workdir),
            "step": checkpoint.latest_step(workdir),
            "files": sorted(path.name for path in workdir.glob("*")),
            "checkpoints": sorted(path.name for path in workdir.glob("checkpoints/*")),
            "records": read_metrics(workdir),
            "event_steps": _event_steps(workdir),
        }
        (out / f"{name}.json").write_text(json.dumps(result))
        subprocess.run(["umount", "--lazy", workdir], check=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
