"""Target alignment after one update, over whatever the run varied: depth, width, condition number,
batch size. Mean over seeds with one standard deviation; predictions of the theory as thin dashes."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from . import records, style

AXES = ("hidden_layers", "width", "condition_number", "batch_size")
X_LABELS = {"width": "width (units)", "batch_size": "batch size (samples)"}
PREDICTED = {"color": "black", "linestyle": (0, (2, 2)), "linewidth": 0.7, "zorder": 3}


def main_axis(measured):
    """The axis with most values; None when nothing was varied."""
    counts = [(len(measured.distinct(axis)), axis) for axis in AXES]
    most = max(counts, key=lambda pair: pair[0])
    return most[1] if most[0] > 1 else None


def cells(everything):
    """The main axis, the columns that vary beside it, and (values, rows) of each of their cells."""
    measured = everything.measured("target_alignment")
    axis = main_axis(measured)
    facets = measured.varied(leave_out=(*records.MODEL, "learning_rate", "seed", axis))
    return axis, facets, everything.split(facets)


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


def frame(ax):
    """Perfect alignment, 1, just below the top."""
    bottom = ax.get_ylim()[0]
    ax.set_ylim(bottom, 1 + 0.04 * (1 - bottom))


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
    ax.set_xlabel(X_LABELS.get(axis, style.name(axis)))
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
    names = [style.label(m).replace(" + ", "\n+ ").replace(" (", "\n(") for m in models]
    ax.set_xticks(range(len(models)), names)
    ax.set_xlim(-0.6, len(models) - 0.4)


def layout(measured, facets):
    """Rows and columns of the small multiples: the last facet runs across where it fits."""
    counts = [len(measured.distinct(facet)) for facet in facets] or [1]
    across = counts[-1]
    if across > 4:
        across = 4 if across % 4 == 0 else 3
    return math.ceil(math.prod(counts) / across), across


def note(parts):
    """What bands and dashes are, where these records are drawn."""
    seeds = style.seeds_text(*(part.measured("target_alignment") for part in parts))
    text = f"Alignment: mean and one standard deviation over {seeds}."
    predicted = any(len(part.where(metric="predicted_alignment")) for part in parts)
    swept = any(main_axis(part) for part in parts)
    return text + (" Thin dashes: predicted by the theory." if predicted and swept else "")


def draw(folders):
    everything = records.read(folders)
    measured = everything.measured("target_alignment")
    axis, facets, parts = cells(everything)
    rows, columns = layout(measured, facets)
    fig = style.figure(0.8 + (3.4 if columns == 1 else 2.4) * rows, 9.6 if columns > 3 else style.WIDTH)
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (values, cell) in zip(axes.flat, parts):
        draw_panel(ax, cell, axis)
        ax.set_title(style.describe(values))
        ax.label_outer()
    frame(axes[0, 0])
    for ax in axes[:, 0]:
        ax.set_ylabel("target alignment")
    for ax in list(axes.flat)[len(parts) :]:
        ax.set_visible(False)
    style.legend(fig, measured.models(), note([everything]), show=axis is not None)
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
