#!/usr/bin/env python3
"""Training of autoencoders: test error at each model's best learning rate, the sweep over rates, and
test images with their reconstructions."""

import sys
from pathlib import Path

import numpy as np

import records
import style
import training

METRIC = "test_error"


def read_pgm(path):
    """A binary PGM picture as [rows, columns]."""
    data = path.read_bytes()
    fields = data.split(maxsplit=3)
    if len(fields) < 4 or fields[0] != b"P5":
        raise records.FigureError(f"{path} is no binary PGM picture")
    columns, rows = int(fields[1]), int(fields[2])
    pixels = np.frombuffer(data[-rows * columns :], dtype=np.uint8)
    if len(pixels) != rows * columns:
        raise records.FigureError(f"{path} is cut short")
    return pixels.reshape(rows, columns)


def read_picture(folder):
    """The pictures and the names of their rows; None when the run left none."""
    path = Path(folder) / "reconstructions.pgm"
    names = records.read_summary(folder).get("picture_rows", [])
    return (read_pgm(path), names) if path.is_file() and names else None


def row_label(name):
    rule, _, rescaling = name.partition(" + ")
    return name if name == "original" else style.label((rule, rescaling or "none"))


def draw_picture(ax, picture):
    pixels, names = picture
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    pitch = pixels.shape[0] / len(names)
    ax.set_yticks((np.arange(len(names)) + 0.5) * pitch - 0.5, [row_label(n) for n in names])
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def draw(folders):
    everything = records.read(folders)
    summaries = [records.read_summary(folder) for folder in folders]
    tasks = [
        (values, training.trained_models(cell, summaries))
        for values, cell in training.cells(everything, METRIC)
    ]
    picture = read_picture(folders[0])
    heights = [2.6] * len(tasks)
    if picture:
        rows, columns = picture[0].shape
        heights.append(5.4 * rows / columns)
    fig = style.figure(0.9 + sum(heights))
    parts = np.atleast_1d(fig.subfigures(len(heights), 1, height_ratios=heights))
    for part, (values, models) in zip(parts, tasks):
        curves, sweep = part.subplots(1, 2)
        training.draw_curves(curves, models, METRIC)
        curves.set_title(style.describe(values))
        training.draw_sweep(sweep, models, METRIC)
    if picture:
        draw_picture(parts[-1].subplots(), picture)
    note = training.NOTE.format(seeds=style.seeds_text(everything)) + training.SWEEP_NOTE
    style.legend(fig, everything.models(), note)
    return fig


if __name__ == "__main__":
    sys.exit(style.run(__doc__, draw))
