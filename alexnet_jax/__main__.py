"""``python -m alexnet_jax COMMAND``: lists the commands and runs one."""

import ast
import importlib
import importlib.util
import os
import pkgutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet_jax import commands
from alexnet_jax.backend import memory
from alexnet_jax.errors import RequestError, RunError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(names))
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in names:
        print(f"unknown command {name!r}.\n\n{_usage(names)}", file=sys.stderr)
        return 2
    command = importlib.import_module(f"{commands.__name__}.{name}")
    try:
        with memory.enough():
            return command.main(rest)
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def run() -> int:
    """Runs the command line in a process of its own: what ``python -m alexnet_jax`` and ``alexnet-jax`` call."""
    memory.keep_freed_memory()  # of this process: a caller of main() decides for its own
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return 1  # as rich does
    return status


def _usage(names: list[str]) -> str:
    width = max(map(len, names))
    lines = [f"  {name:<{width}}  {_first_line(name)}" for name in names]
    return "\n".join(
        [
            "usage: python -m alexnet_jax COMMAND ...    (COMMAND --help tells more)",
            *lines,
            "To train a recipe of the checkout: python -m alexnet_jax.main --config configs/digits.py",
        ]
    )


def _first_line(name: str) -> str:
    """Returns the first line of a command's docstring, read without importing what the command needs."""
    path = Path(str(commands.__path__[0])) / f"{name}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(run())
