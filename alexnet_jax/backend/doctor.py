"""Whether AlexNet can train on a backend: every check in a child process, so that a crash or a hang costs one row."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from alexnet_jax.backend import activate, child
from alexnet_jax.backend.checks import CRASH, OK
from alexnet_jax.backend.platforms import Backend
from alexnet_jax.errors import RequestError


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one check: its status is ok, unsupported, WRONG or CRASH."""

    name: str
    status: str
    detail: str
    needed: bool


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
      backend: The name that was asked for.
      platforms: What JAX lists there: by platform its version, kind and number of devices.
      versions: Of jax, jaxlib, and the PJRT interface of the plugin.
      rows: In order.
      complete: Whether every check was asked for.
      is_reference: Whether the device is the CPU that the others are compared with.
    """

    backend: str
    platforms: dict[str, Any]
    versions: dict[str, str]
    rows: list[Row]
    complete: bool = True
    is_reference: bool = False

    @property
    def failures(self) -> list[str]:
        """Returns the names of the checks that failed and that training needs."""
        return [row.name for row in self.rows if row.needed and row.status != OK]

    @property
    def verdict(self) -> str:
        """Returns the conclusion in one sentence."""
        if self.failures:
            return f"AlexNet cannot train on this backend: {', '.join(self.failures)}"
        if not self.complete:
            return f"{len(self.rows)} chosen checks ran, and nothing that training needs failed"
        without = [row.name for row in self.rows if row.status != OK]
        tail = f", without: {', '.join(without)}" if without else ""
        return f"AlexNet can train on this backend{tail}"


def examine(backend: Backend | None, catalogues: Sequence[str], only: Sequence[str] = ()) -> Report:
    """Runs the checks on a backend; None is JAX's own choice.

    A child runs one check after the other; where it dies or is silent too long, that check is a CRASH, and another
    child goes on after it.

    Args:
      backend: To examine.
      catalogues: Names of modules with a sequence ``CHECKS``.
      only: Parts of the names of the checks to run; all where empty.

    Raises:
      RequestError: If the backend does not start, or no check has such a name.
    """
    request = {
        "backend": dataclasses.asdict(backend) if backend else None,
        "catalogues": list(catalogues),
        "only": list(only),
    }
    name = backend.name if backend else "auto"
    started: dict[str, Any] | None = None
    rows: list[Row] = []
    while True:
        outcome = child.run(
            "alexnet_jax.backend.examination", request | {"skip": [row.name for row in rows]}
        )
        begun, done = None, False
        for message in outcome.messages:
            if "refused" in message:
                raise RequestError(message["refused"])
            if "platforms" in message:
                started = message
            elif "begun" in message:
                begun = message
            elif "done" in message:
                done = True
            else:
                rows.append(Row(**message))
                begun = None
        if begun is not None:
            rows.append(Row(begun["begun"], CRASH, outcome.cause(), begun["needed"]))
        elif done and started is not None:
            if not rows:
                raise RequestError(f"no check's name has {' or '.join(map(repr, only))} in it.")
            return Report(
                name,
                started["platforms"],
                started["versions"],
                rows,
                complete=not only,
                is_reference=started["is_reference"],
            )
        elif not outcome.messages:
            raise RequestError(activate.crashed(backend or Backend(name), outcome))
        else:
            raise RuntimeError(f"the examination ended between two checks ({outcome.cause()})")
