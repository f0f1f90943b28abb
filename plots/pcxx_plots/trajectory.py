"""Where the first two outputs go while a network learns one sample. The grey dashed line is the
straight way to the target."""


import numpy as np

from . import records, style

IDEAL = {"color": "0.6", "linestyle": "--", "linewidth": 1, "zorder": 1}
NOTE = "From the grey dot to the star, the target. Grey dashes: the straight way. The axes have scales of their own."


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
            yield (values["rule"], values["rescaling"]), points[records.drawable(points).all(axis=1)]


def evenly(points):
    """Points of a path, [points, 2], at about even distances: at most style.MOST_POINTS."""
    length = np.append(0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
    marks = np.linspace(0, length[-1], style.MOST_POINTS)
    return points[np.unique(np.searchsorted(length, marks).clip(max=len(length) - 1))]


def draw_paths(ax, everything, targets):
    """The second prediction over the first."""
    for model, points in paths(everything):
        if not len(points):
            continue
        ax.plot(*evenly(points).T, **style.line(model), markevery=(0.06, 0.12))
        for target in targets:
            ax.plot(*np.stack([points[0], target]).T, **IDEAL)
        ax.plot(*points[0], "o", color="0.3", markersize=6, zorder=4)
    for target in targets:
        ax.plot(*target, "*", color="0.3", markersize=12, zorder=4)
    ax.margins(0.1)
    ax.set_xlabel("prediction 1")
    ax.set_ylabel("prediction 2")


def draw(folders):
    everything = records.read(folders)
    targets = [target_of(folder) for folder in folders]
    fig = style.figure(3.6, 4.8)
    draw_paths(fig.subplots(), everything, targets)
    style.legend(fig, everything.models(), NOTE)
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
