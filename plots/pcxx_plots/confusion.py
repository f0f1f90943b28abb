"""Confusion matrices of classifiers, from confusion.csv: what the test images of each class are taken for by each
model at its best learning rate."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import PowerNorm

from . import records, style

COUNTED = ("seed", "target", "predicted", "count")
REQUIRED = ("rule", "rescaling", *COUNTED)
MOST_NUMBERED = 12  # classes: the counts of more have no room
MOST_CLASSES = 1000
ACROSS = 2
HEIGHT = 3.4  # inches of a row of matrices


@dataclass
class Confusion:
    """The counts of one model, summed over its seeds: [class, taken for]."""

    values: dict  # its columns
    counts: np.ndarray
    seeds: int


def read(folders):
    """Of all models of the run folders. A run of an older version has none."""
    paths = [Path(folder) / "confusion.csv" for folder in folders]
    return [found for path in paths if path.is_file() for found in read_file(path)]


def read_file(path):
    cells = {}
    try:
        rows = list(csv.DictReader(io.StringIO(records.read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise records.FigureError(f"{path}: {error}") from None
    for line, row in enumerate(rows, start=2):
        if not all(row.get(name) for name in REQUIRED) or None in row.values() or None in row:
            raise records.FigureError(f"{path}:{line} has not the fields of {', '.join(REQUIRED)}")
        values = tuple((name, text) for name, text in row.items() if name not in COUNTED)
        place = tuple(_count(row[name], path, line) for name in COUNTED)
        cells.setdefault(values, []).append(place)
    return [_summed(dict(values), np.array(places), path) for values, places in cells.items()]


def _count(text, path, line):
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise records.FigureError(f"{path}:{line}: '{text[:50]}' is no count")
    return int(text)


def _summed(values, places, path):
    seeds, targets, predicted, counts = places.T
    classes = 1 + max(targets.max(), predicted.max())
    if classes > MOST_CLASSES:
        raise records.FigureError(f"{path} has {classes} classes, too many for a figure")
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (targets, predicted), counts)
    return Confusion(values, matrix, len(np.unique(seeds)))


def accuracy(counts):
    return np.trace(counts) / max(counts.sum(), 1)


def titles(found):
    """The models in words, with what else tells them apart."""
    names = list(dict.fromkeys(name for one in found for name in one.values))
    own = [name for name in names if name not in ("model", "rule", "rescaling")]
    varied = [name for name in own if len({one.values.get(name) for one in found}) > 1]
    words = []
    for one in found:
        told = {name: one.values[name] for name in varied if one.values.get(name)}
        name = style.label((one.values["rule"], one.values["rescaling"]))
        words.append(f"{', '.join(filter(None, (name, style.describe(told))))}: {100 * accuracy(one.counts):.3g} %")
    return words


def draw_matrix(ax, one, title):
    """Each row in fractions of its class as colours, of which the root is taken so that rare confusions are seen,
    with the counts where they have room."""
    rows = one.counts.sum(axis=1, keepdims=True)
    fractions = one.counts / np.maximum(rows, 1)
    ax.imshow(fractions, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    classes = len(fractions)
    if classes <= MOST_NUMBERED:
        ax.set_xticks(range(classes))
        ax.set_yticks(range(classes))
        for (i, j), count in np.ndenumerate(one.counts):
            look = {"color": "white" if fractions[i, j] > 0.25 else "0.25", "fontsize": style.points(5.5)}
            if count:
                ax.text(j, i, str(count), ha="center", va="center", **look)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xlabel("taken for class")
    ax.set_ylabel("class")
    ax.set_title(title)


def rows(found):
    """How many rows of panels the matrices take."""
    return -(-len(found) // ACROSS)


def draw_panels(fig, grid, first, found):
    """All matrices into a grid of 2 * ACROSS or 6 columns, from one row on."""
    across = min(ACROSS, len(found))
    width = grid.ncols // across
    for k, (one, title) in enumerate(zip(found, titles(found))):
        row, column = first + k // across, k % across * width
        draw_matrix(fig.add_subplot(grid[row, column : column + width]), one, title)


def note(found):
    most = max(one.seeds for one in found)
    summed = f"summed over {style.count_seeds(most)}" if most > 1 else "1 seed"
    return f"Matrices: counts of test images at the best rate, {summed}; colours: roots of the fractions of each class."


def draw(folders):
    found = read(folders)
    if not found:
        raise records.FigureError(f"{folders[0]} has no confusion.csv with the counts of a model")
    height = rows(found)
    fig = style.figure(0.4 + HEIGHT * height)
    draw_panels(fig, fig.add_gridspec(height, 2 * ACROSS), 0, found)
    style.legend(fig, [], note(found))
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
