"""Data sets: pixels are uint8 [N, rows * columns], which trainings take as numbers in [0, 1]."""

import os

import torch

from ._core import LinearTeacher, drawn_digits, idx_images, load_images

__all__ = ["LinearTeacher", "drawn_digits", "fashion_mnist", "idx_images", "load_images", "mnist"]


def mnist(folder: str | os.PathLike[str] | None = None, train: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """(pixels uint8 [60000, 784], labels int64 [60000]), or the 10,000 test images. They are looked for below a folder,
    by default that of the environment's PCXX_DATA_DIR, else ./data. Throws UserError where there are none."""
    return load_images("mnist", train, None if folder is None else os.fspath(folder))


def fashion_mnist(
    folder: str | os.PathLike[str] | None = None, train: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of Fashion-MNIST."""
    return load_images("fashion-mnist", train, None if folder is None else os.fspath(folder))
