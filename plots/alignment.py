#!/usr/bin/env python3
"""Target alignment after one update, over whatever the run varied: depth, width, condition number,
batch size. Mean over seeds with one standard deviation; predictions of the theory as thin dashes."""

import math
import sys

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

import records
import style

AXES = ("hidden_layers", "width", "condition_number", "batch_size")
PREDICTED = {"color": "black", "linestyle": (0, (2, 2)), "linewidth": 0.7}


def main_axis(measured):
    """The axis with most values; None when nothing was varied."""
    counts = [(len(measured.distinct(axis)), axis) for axis in AXES]
    most = max(counts, key=lambda pair: pair[0])
    return most[1] if most[0] > 1 else None


def mean_and_spread(values):
    count = np.isfinite(values).sum(axis=1)
    filled = np.where(np.isfinite(values), values, 0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    squares = np.where(np.isfinite(values), (values - mean[:, None]) ** 2, 0)
    spread = np.sqrt(squares.sum(axis=1) / np.maximum(count - 1, 1))
    return np.where(count > 0, mean, np.nan), spread


def draw_panel(ax, cell, axis):
    """Alignment over `axis`, or of each model beside the next when `axis` is None."""
    if axis is None:
        draw_models(ax, cell)
    else:
        draw_lines(ax, cell, axis)
    ax.set_ylim(top=max(1.02, ax.get_ylim()[1] if ax.get_ylim()[1] < 1.02 else 1.02))


def draw_lines(ax, cell, axis):
    measured = cell.measured("target_alignment")
    for model in style.in_order(measured.models()):
        x, values = measured.model(model).over_seeds(axis)
        mean, spread = mean_and_spread(values)
        style.band(ax, x, mean - spread, mean + spread, model)
        ax.plot(x, mean, **style.line(model))
    for model in cell.models():
        predicted = cell.model(model).where(metric="predicted_alignment")
        if len(predicted):
            x, values = predicted.over_seeds(axis)
            ax.plot(x, mean_and_spread(values)[0], **PREDICTED)
    set_axis(ax, measured.distinct(axis), axis)


def set_axis(ax, x, axis):
    ax.set_xlabel(style.name(axis))
    if axis == "hidden_layers":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif x[0] > 0:
        base = 10 if axis == "condition_number" else 2
        ax.set_xscale("log", base=base)
        style.log_axis(ax.xaxis, x[0], x[-1], base)


def draw_models(ax, cell):
    measured = cell.measured("target_alignment")
    models = style.in_order(measured.models())
    for i, model in enumerate(models):
        values = measured.model(model).over_seeds("step")[1]
        mean, spread = mean_and_spread(values)
        ax.plot(np.full(values.size, i), values.ravel(), ".", color="0.75", markersize=3)
        ax.errorbar([i], mean, yerr=spread, capsize=3, **style.line(model))
    ax.set_xticks(range(len(models)), [style.label(model).replace(" + ", "\n+ ") for model in models])
    ax.set_xlim(-0.6, len(models) - 0.4)


def layout(cells):
    """Rows and columns of the small multiples."""
    columns = min(len(cells), 4 if len(cells) % 4 == 0 else 3 if len(cells) % 3 == 0 else 2)
    return math.ceil(len(cells) / columns), columns


def draw(folders):
    everything = records.read(folders)
    measured = everything.measured("target_alignment")
    axis = main_axis(measured)
    facets = measured.varied(leave_out=(*records.MODEL, "learning_rate", "seed", axis))
    cells = everything.split(facets)
    rows, columns = layout(cells)
    width = style.WIDTH if columns < 4 else 9.6
    fig = style.figure(0.8 + (3.4 if columns == 1 else 2.5) * rows, width if columns > 1 else 6.8)
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (values, cell) in zip(axes.flat, cells):
        draw_panel(ax, cell, axis)
        ax.set_title(style.describe(values))
        ax.label_outer()
    for ax in axes[:, 0]:
        ax.set_ylabel("target alignment")
    for ax in list(axes.flat)[len(cells) :]:
        ax.set_visible(False)
    predicted = len(everything.where(metric="predicted_alignment")) and axis
    style.legend(
        fig,
        measured.models(),
        f"Mean and one standard deviation over {style.seeds_text(measured)}.",
        [Line2D([], [], label="predicted by the theory", **PREDICTED)] if predicted else [],
    )
    return fig


if __name__ == "__main__":
    sys.exit(style.run(__doc__, draw))
