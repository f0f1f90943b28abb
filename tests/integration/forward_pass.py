#!/usr/bin/env python3
"""Tests the saved weights of a run again, with numpy alone: reads the safetensors files that summary.json
names, makes the networks' forward pass on the test images, and compares errors and accuracies with those
of summary.json. Without labels the images are their own targets."""

import argparse
import json
import struct
import sys
from pathlib import Path

import numpy as np

DTYPES = {"F32": "<f4", "F64": "<f8"}
ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def read_safetensors(path):
    """({name: array}, metadata)."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    numbers = data[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(numbers[begin:end], dtype=DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata


def read_idx(path):
    data = path.read_bytes()
    dimensions = data[3]
    sizes = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return np.frombuffer(data[4 + 4 * dimensions :], dtype=np.uint8).reshape(sizes)


def forward(tensors, activations, x):
    for layer, activation in enumerate(activations, start=1):
        x = x @ tensors[f"layer{layer}.weight"].T + tensors.get(f"layer{layer}.bias", 0)
        x = ACTIVATIONS[activation](x)
    return x


def measure(path, images, labels):
    tensors, metadata = read_safetensors(path)
    x = images.reshape(len(images), -1) / 255
    output = forward(tensors, metadata["activations"].split(","), x)
    if labels is None:
        return {"final_error": np.mean((output - x) ** 2)}
    target = np.eye(output.shape[1])[labels]
    right = output.argmax(axis=1) == labels
    return {"final_error": np.mean((output - target) ** 2), "final_accuracy": np.mean(right)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="run folder")
    parser.add_argument("images", type=Path, help="IDX file of the test images")
    parser.add_argument("labels", type=Path, nargs="?", help="IDX file of their labels")
    parser.add_argument("--tolerance", type=float, default=1e-12, help="relative, of the error")
    arguments = parser.parse_args()
    images = read_idx(arguments.images)
    labels = read_idx(arguments.labels) if arguments.labels else None
    fits = True
    for model in json.loads((arguments.folder / "summary.json").read_text())["models"]:
        files = [measure(arguments.folder / name, images, labels) for name in model["weights"]]
        for name in files[0]:
            here = np.mean([file[name] for file in files])
            print(f"{model['model']}: {name} {here:.17g}, in summary.json {model[name]:.17g}")
            fits = fits and abs(here - model[name]) <= arguments.tolerance * abs(model[name])
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
