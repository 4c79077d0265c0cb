"""How many bytes a device sends in a step, read from the compiled program."""

import math
import re
from collections.abc import Callable

ITEM_BYTES = {
    **dict.fromkeys(("pred", "s8", "u8"), 1),
    **dict.fromkeys(("bf16", "f16", "s16", "u16"), 2),
    **dict.fromkeys(("f32", "s32", "u32"), 4),
    **dict.fromkeys(("f64", "s64", "u64"), 8),
}

# Bytes a device sends, from the bytes of the result and the number of devices, by the bandwidth-optimal ring
# algorithms (Patarasuk and Yuan, doi:10.1016/j.jpdc.2008.09.002): a reduce-scatter, whose result is one part in n,
# sends n - 1 such parts; an all-gather as much; an all-reduce is both, one after the other.
RING: dict[str, Callable[[int, int], float]] = {
    "all-reduce": lambda size, n: 2 * (n - 1) / n * size,
    "all-gather": lambda size, n: (n - 1) / n * size,
    "reduce-scatter": lambda size, n: (n - 1) * size,
    "all-to-all": lambda size, n: (n - 1) / n * size,
    "collective-permute": lambda size, n: size,
}

# e.g. "%name = (f32[64]{0}, bf16[3,3]{1,0}) all-reduce(...)"; asynchronous ones begin with "-start".
_INSTRUCTION = re.compile(r"= (?P<result>.*?) (?P<kind>" + "|".join(RING) + r")(?:-start)?\(")
_SHAPE = re.compile(r"\b(?P<type>\w+)\[(?P<sizes>[\d,]*)\]")
_GROUPS = re.compile(r"replica_groups=(?:\{\{(?P<list>[\d,]+)\}|\[(?P<count>\d+),(?P<size>\d+)\])")


def sent_bytes(program: str, device_count: int) -> dict[str, int]:
    """Returns the bytes each device sends in one run of a compiled program, by kind of collective.

    Args:
      program: Optimised HLO, ``compiled.as_text()``. Collectives inside a loop are counted once.
      device_count: How many devices a collective spans that does not name its groups.

    Raises:
      ValueError: If a collective has a result of an unknown type.
    """
    totals = dict.fromkeys(RING, 0.0)
    for line in program.splitlines():
        instruction = _INSTRUCTION.search(line)
        if instruction is None:
            continue
        kind = instruction["kind"]
        group = _group_size(line, device_count)
        totals[kind] += RING[kind](_result_bytes(instruction["result"], kind, line), group)
    return {kind: round(total) for kind, total in totals.items() if total}


def _result_bytes(result: str, kind: str, line: str) -> int:
    shapes = [(match["type"], match["sizes"]) for match in _SHAPE.finditer(result)]
    if f"{kind}-start(" in line and kind != "all-reduce":
        shapes = shapes[len(shapes) // 2 :]  # operands first, then results
    unknown = {name for name, _ in shapes} - ITEM_BYTES.keys()
    if unknown:
        raise ValueError(
            f"{kind} with a result of unknown type {', '.join(sorted(unknown))}: {line.strip()}"
        )
    return sum(
        ITEM_BYTES[name] * math.prod(int(size) for size in sizes.split(",") if size)
        for name, sizes in shapes
    )


def _group_size(line: str, device_count: int) -> int:
    groups = _GROUPS.search(line)
    if groups is None:
        return device_count
    return int(groups["size"]) if groups["size"] else len(groups["list"].split(","))
