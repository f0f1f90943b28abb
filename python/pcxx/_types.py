"""What is taken as data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# A tensor, a numpy array (without a copy), or lists of numbers.
ArrayLike = torch.Tensor | np.ndarray[Any, Any] | Sequence[Any]
