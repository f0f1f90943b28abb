"""torch, before the extension that needs its libraries and types; another series is refused."""

from typing import Any

from ._programs import torch_fault

if fault := torch_fault():
    raise ImportError(fault)

import torch


def tensor_of(source: Any, name: str) -> torch.Tensor:
    """Numbers that are no tensor: a numpy array, whose memory it shares where torch can, or lists."""
    import numpy as np

    from ._core import UserError

    try:
        array = np.asarray(source)
    except ValueError:  # rows of different lengths
        array = None
    if array is None or array.dtype.kind not in "fiub":
        raise UserError(f"{name} is no tensor and no array of real numbers, but a {type(source).__name__}")
    if not array.flags.writeable or not array.flags.c_contiguous or not array.dtype.isnative:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(array)
