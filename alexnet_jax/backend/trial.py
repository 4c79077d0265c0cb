"""``python -m alexnet_jax.backend.trial``, a child of ``activate``: starts a backend and says what came of it."""

from collections.abc import Callable

from alexnet_jax.backend import child
from alexnet_jax.backend.activate import start
from alexnet_jax.backend.platforms import Backend
from alexnet_jax.errors import RequestError


def answer(request: child.Message, report: Callable[[child.Message], None]) -> None:
    """Starts the backend of the request."""
    try:
        devices = start(Backend(**request))
    except RequestError as error:
        report({"refused": str(error)})
    else:
        report({"devices": len(devices)})


if __name__ == "__main__":
    child.serve(answer)
