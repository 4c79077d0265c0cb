"""Writes ``weights/`` with PyTorch: python -m tests.references.make_weights (from the repository's root).

Small files of the formats that PyTorch writes, so that their readers are tested where PyTorch is not installed.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.references.numbers import uniform

DIRECTORY = Path(__file__).with_name("weights")


def state_dict():
    """Returns tensors of every kind that a state dict has; ``test_torch_file.expected`` says the same in NumPy."""
    large = torch.from_numpy(uniform("large", (4, 6)))
    return OrderedDict(
        plain=torch.from_numpy(uniform("plain", (2, 3, 2, 2))),
        parameter=torch.nn.Parameter(torch.from_numpy(uniform("parameter", (3,)))),
        double=torch.from_numpy(uniform("double", (3,))).double(),
        half=torch.from_numpy(uniform("half", (2, 3))).half(),
        bfloat16=torch.from_numpy(uniform("bfloat16", (2, 3))).bfloat16(),
        transposed=large.t(),
        part=large[1:, 1::2],
        count=torch.tensor(12),
        nothing=torch.zeros(0, 3),
    )


def main():
    DIRECTORY.mkdir(exist_ok=True)
    arrays = state_dict()
    wrapped = {"epoch": 3, "best": 0.5, "state_dict": arrays, "note": None}
    torch.save(arrays, DIRECTORY / "zip.pth")
    torch.save(wrapped, DIRECTORY / "zip_wrapped.pth", pickle_protocol=4)
    torch.save(arrays, DIRECTORY / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(wrapped, DIRECTORY / "legacy_wrapped.pth", _use_new_zipfile_serialization=False)
    contiguous = {name: tensor.detach().contiguous() for name, tensor in arrays.items()}
    save_file(contiguous, DIRECTORY / "small.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
