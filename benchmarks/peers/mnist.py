"""MNIST in memory, and what the classifier benchmarks share: batches, and one JSON line a run."""

import gzip
import json
import struct
import time
from pathlib import Path

import numpy

WIDTHS, BATCH = (784, 256, 256, 10), 128


def read(path):
    """An IDX file of bytes, plain or gzipped."""
    data = path.read_bytes() if path.exists() else gzip.decompress(
        path.with_name(f"{path.name}.gz").read_bytes())
    dimensions = data[3]
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * dimensions).reshape(shape)


def load(folder):
    """(pixels in 0..1 [n, 784], labels [n]) of the training samples and of the test samples."""
    found = []
    for name in ("train", "t10k"):
        images = read(Path(folder) / "mnist" / f"{name}-images-idx3-ubyte")
        labels = read(Path(folder) / "mnist" / f"{name}-labels-idx1-ubyte")
        pixels = images.reshape(len(images), -1).astype(numpy.float32) / 255
        found.append((pixels, labels.astype(numpy.int64)))
    return found


def shuffled(samples, seed):
    """The rows of one epoch's batches [batches, BATCH]; what fills no batch is left out."""
    rows = numpy.random.default_rng(seed).permutation(samples)
    return rows[: samples - samples % BATCH].reshape(-1, BATCH)


class Clock:
    """Processor seconds and wall seconds of a `with` block."""

    def __enter__(self):
        self._start = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_):
        end = time.process_time(), time.perf_counter()
        self.processor, self.wall = (b - a for a, b in zip(self._start, end))


def report(**values):
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(rounded), flush=True)


def summary(runs, **values):
    """One line for the runs [(processor seconds, wall seconds, test accuracy)] of several seeds."""
    processor, wall, accuracy = (list(map(float, column)) for column in zip(*runs))
    report(
        **values,
        seconds_minimum=min(processor),
        seconds_median=float(numpy.median(processor)),
        wall_minimum=min(wall),
        accuracy_mean=float(numpy.mean(accuracy)),
        accuracy_minimum=min(accuracy),
        accuracy_maximum=max(accuracy),
    )
