#!/usr/bin/env python3
"""Where the first two outputs go while a network learns one sample. The grey dashed line is the
straight way to the target."""

import sys

import numpy as np

import records
import style

IDEAL = {"color": "0.6", "linestyle": "--", "linewidth": 1, "zorder": 1}


def target_of(folder):
    target = records.read_summary(folder).get("target", [])
    if len(target) < 2:
        raise records.FigureError(f"{folder} holds no trajectory of two outputs or more")
    return target[:2]


def paths(everything):
    """(model, [steps, 2]) of every run."""
    first = everything.measured("prediction1")
    second = everything.measured("prediction2")
    for values, rows in first.split(first.identity):
        if len(rows):
            points = np.stack([rows["value"], second.where(**values)["value"]], axis=1)
            yield (values["rule"], values["rescaling"]), points[np.isfinite(points).all(axis=1)]


def draw(folders):
    everything = records.read(folders)
    fig = style.figure(4.4, 4.8)
    ax = fig.subplots()
    targets = [target_of(folder) for folder in folders]
    for model, points in paths(everything):
        ax.plot(*points.T, **style.line(model), markevery=0.12)
        for target in targets:
            ax.plot(*np.stack([points[0], target]).T, **IDEAL)
        ax.plot(*points[0], "o", color="0.3", markersize=5, zorder=4)
    for target in targets:
        ax.plot(*target, "*", color="0.3", markersize=11, zorder=4)
    ax.set_xlabel("prediction 1")
    ax.set_ylabel("prediction 2")
    ax.margins(0.08)
    note = "From the grey dot to the star, the target. Grey dashes: the straight way."
    style.legend(fig, everything.models(), note)
    return fig


if __name__ == "__main__":
    sys.exit(style.run(__doc__, draw))
