"""A pickle machine that builds plain values and descriptions of tensors, and refuses every other instruction.

Python's own unpickler calls what a file names. This one has a table of the instructions that a dictionary of tensors
needs (pickletools documents all of them) and a table of the names it may hold; there is nothing to call besides.
"""

import collections
import dataclasses
import pickletools
from collections.abc import Callable
from typing import IO, Any

from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights.stored import shown

MOST_AXES = 8


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of numbers elsewhere in the file.

    Attributes:
      kind: PyTorch's class of it, e.g. "FloatStorage".
      key: Its name in the file.
      length: How many numbers.
    """

    kind: str
    key: str
    length: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage.

    Attributes:
      storage: What it views.
      offset: Of its first number, in numbers.
      shape: Its shape.
      strides: From a number to the next along each axis, in numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Name:
    """A global of a module, not looked up."""

    text: str


class RefusedError(RequestError):
    """A pickle with anything but tensors in plain containers."""


def unpickle(file: IO[bytes]) -> Any:
    """Reads one pickle from a file, up to its end.

    Raises:
      RefusedError: If it holds an instruction, a global or an object that a dictionary of tensors has no need of.
    """
    machine = _Machine()
    try:
        for opcode, argument, position in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.pop()
            if opcode.name not in _INSTRUCTIONS:
                raise RefusedError(f"the pickle instruction {opcode.name} at byte {position}")
            _INSTRUCTIONS[opcode.name](machine, argument)
    except RefusedError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise RefusedError(f"a damaged pickle ({shown(str(error))})") from error
    raise RefusedError("a pickle without an end")


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        """Puts a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Takes the last value, which must lie above the last mark."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise RefusedError("a damaged pickle (nothing on its stack)")
        return self._stack.pop()

    def top(self) -> Any:
        """Returns the last value and leaves it."""
        value = self.pop()
        self._stack.append(value)
        return value

    def mark(self) -> None:
        """Remembers where the stack ends."""
        self._marks.append(len(self._stack))

    def pop_to_mark(self) -> list[Any]:
        """Takes everything above the last mark, and the mark."""
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values


def _container(machine: _Machine, kind: type) -> Any:
    value = machine.top()
    if not isinstance(value, kind):
        raise RefusedError(f"a change to {_describe(value)}")
    return value


def _set_items(machine: _Machine, flat: list[Any]) -> None:
    target = _container(machine, dict)
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        if not isinstance(key, str | int):
            raise RefusedError(f"{_describe(key)} as a key")
        target[key] = value


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _append(machine: _Machine, _: Any) -> None:
    _extend(machine, [machine.pop()])


def _extend(machine: _Machine, values: list[Any]) -> None:
    _container(machine, list).extend(values)


def _remember(machine: _Machine, index: int) -> None:
    machine.memory[index] = machine.top()


def _recall(machine: _Machine, index: int) -> None:
    machine.push(machine.memory[index])


def _tuple(length: int) -> Callable[[_Machine, Any], None]:
    def build(machine: _Machine, _: Any) -> None:
        machine.push(tuple(machine.pop() for _ in range(length))[::-1])

    return build


def _global(machine: _Machine, name: str) -> None:
    if name not in _CALLABLE and name not in _CONSTANTS:
        raise RefusedError(shown(name.replace(" ", ".", 1)))
    machine.push(Name(name))


def _stack_global(machine: _Machine, _: Any) -> None:
    attribute, module = machine.pop(), machine.pop()
    if not isinstance(module, str) or not isinstance(attribute, str):
        raise RefusedError("a global without a name")
    _global(machine, f"{module} {attribute}")


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, function = machine.pop(), machine.pop()
    if (
        not isinstance(function, Name)
        or function.text not in _CALLABLE
        or not isinstance(arguments, tuple)
    ):
        raise RefusedError(f"a call of {_describe(function)}")
    machine.push(_CALLABLE[function.text](*arguments))


def _build(machine: _Machine, _: Any) -> None:
    """Drops the attributes of an OrderedDict: a state dict's are its layers' versions."""
    machine.pop()
    _container(machine, collections.OrderedDict)


def _persistent(machine: _Machine, _: Any) -> None:
    match machine.pop():
        case ("storage", Name() as kind, str(key), str(), int(length), *view) if length >= 0:
            if kind.text not in _CONSTANTS:
                raise RefusedError(f"a storage of {_describe(kind)}")
            if any(part is not None for part in view):
                raise RefusedError("a view of a storage")
            machine.push(Storage(kind.text.partition(" ")[2], key, length))
        case other:
            raise RefusedError(f"a reference to {_describe(other)}")


def _ordered_dict(*arguments: Any) -> collections.OrderedDict[Any, Any]:
    if arguments:
        raise RefusedError("an OrderedDict made from other values")
    return collections.OrderedDict()


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """Describes a tensor; its gradient's settings and hooks are dropped."""
    numbers = [offset, *shape, *strides]
    if (
        not isinstance(storage, Storage)
        or not len(shape) == len(strides) <= MOST_AXES
        or not all(isinstance(number, int) and number >= 0 for number in numbers)
    ):
        raise RefusedError("a tensor of an impossible shape")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise RefusedError(f"{_describe(data)} as a parameter")
    return data


def _describe(value: Any) -> str:
    if isinstance(value, Name):
        return value.text.replace(" ", ".", 1)
    return f"a {type(value).__name__}"


_CALLABLE: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor": _tensor,  # before PyTorch 0.4
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}
STORAGES = (
    "DoubleStorage",
    "FloatStorage",
    "HalfStorage",
    "BFloat16Storage",
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
)
_CONSTANTS = frozenset(f"torch {name}" for name in STORAGES)

_Instruction = Callable[[_Machine, Any], None]
_VALUES = (
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINSTRING SHORT_BINSTRING"
)
_INSTRUCTIONS: dict[str, _Instruction] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    **{name: lambda machine, value: machine.push(value) for name in _VALUES.split()},
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: _set_items(machine, machine.pop_to_mark()),
    "APPEND": _append,
    "APPENDS": lambda machine, _: _extend(machine, machine.pop_to_mark()),
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": lambda machine, _: _remember(machine, len(machine.memory)),
    "BINGET": _recall,
    "LONG_BINGET": _recall,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": _persistent,
}
