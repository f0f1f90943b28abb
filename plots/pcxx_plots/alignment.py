"""Target alignment after one update, over whatever the run varied: depth, width, condition number,
batch size. Mean over seeds with one standard deviation; predictions of the theory as black bars."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from . import records, style

AXES = ("hidden_layers", "width", "condition_number", "batch_size")
X_LABELS = {"width": "width (units)", "batch_size": "batch size (samples)"}
PREDICTED = {  # a bar that is wider than any marker
    "color": "black",
    "linestyle": "",
    "marker": "_",
    "markersize": 9,
    "markeredgewidth": 0.8,
    "zorder": 3,
}
SQUARE = {"color": "0.6", "linestyle": "--", "linewidth": 1}
DOTS = (0, (1, 1.3))
SERIES = {  # what lines of one panel differ by: words and look of each value
    "architecture": {
        "residual": ("residual network", {}),
        "dln": ("deep linear network", {"linestyle": DOTS, "markersize": 2.2}),
    },
}


def main_axis(measured):
    """The axis with most values; None when nothing was varied."""
    counts = [(len(measured.distinct(axis)), axis) for axis in AXES]
    most = max(counts, key=lambda pair: pair[0])
    return most[1] if most[0] > 1 else None


def cells(everything):
    """The main axis, the columns that vary beside it, and (values, rows) of each of their cells."""
    measured = everything.measured("target_alignment")
    axis = main_axis(measured)
    leave_out = (*records.MODEL, "learning_rate", "seed", axis, *series_of(measured))
    facets = measured.varied(leave_out)
    return axis, facets, everything.split(facets)


def series_of(measured):
    """The columns that lines of one panel differ by."""
    columns = [column for column in SERIES if column in measured.columns]
    values = {column: set(measured.distinct(column)) for column in columns}
    return [c for c in columns if len(values[c]) > 1 and values[c] <= SERIES[c].keys()]


def look_of(model, values):
    """A model's line in the series with these values."""
    look = style.line(model)
    for column, value in values.items():
        look |= SERIES[column][value][1]
    return look


def square_width(folder):
    """The width at which a network is square, where its inputs and outputs are as many."""
    config = records.read_config(folder)
    inputs, outputs = config.get("inputs"), config.get("outputs")
    return inputs if isinstance(inputs, int) and inputs > 0 and inputs == outputs else None


def mean_and_spread(values):
    known = records.drawable(values)
    count = known.sum(axis=1)
    filled = np.where(known, values, 0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    squares = np.where(known, (filled - mean[:, None]) ** 2, 0)
    spread = np.sqrt(squares.sum(axis=1) / np.maximum(count - 1, 1))
    return np.where(count > 0, mean, np.nan), spread


def draw_panel(ax, cell, axis, square=None):
    """Alignment over `axis`, or of each model beside the next when `axis` is None."""
    if axis is None:
        draw_models(ax, cell)
        return
    draw_lines(ax, cell, axis)
    if axis == "width" and square:
        ax.axvline(square, zorder=1, **SQUARE)


def frame(ax):
    """Perfect alignment, 1, just below the top."""
    bottom = ax.get_ylim()[0]
    ax.set_ylim(bottom, 1 + 0.04 * (1 - bottom))


def draw_lines(ax, cell, axis):
    measured = cell.measured("target_alignment")
    for values, series in cell.split(series_of(measured)):
        for model in style.in_order(series.models()):
            rows = series.model(model)
            draw_line(ax, rows.where(metric="target_alignment"), axis, model, look_of(model, values))
            predicted = rows.where(metric="predicted_alignment")
            if len(predicted):
                x, alignments = predicted.over_seeds(axis)
                ax.plot(x, mean_and_spread(alignments)[0], **PREDICTED)
    set_axis(ax, measured.distinct(axis), axis)


def draw_line(ax, rows, axis, model, look):
    if not len(rows):
        return
    x, values = rows.over_seeds(axis)
    mean, spread = mean_and_spread(values)
    style.band(ax, x, np.maximum(mean - spread, -1), np.minimum(mean + spread, 1), model)
    ax.plot(x, mean, **look)


def set_axis(ax, x, axis):
    ax.set_xlabel(X_LABELS.get(axis, style.name(axis)))
    if axis == "hidden_layers" and x[-1] < 16 * x[0]:
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
        known = values[records.drawable(values)]
        ax.plot(np.full(known.size, i), known, ".", color="0.75", markersize=3)
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


def note(seeds):
    return f"Alignment: {style.averages(seeds)}."


def keys(parts, square=None):
    """What the legend has beside the models, where these records are drawn."""
    parts = [part for part in parts if main_axis(part.measured("target_alignment"))]
    found = {}
    for part in parts:
        for column in series_of(part.measured("target_alignment")):
            found |= dict(SERIES[column].values())
    result = [(words, {"color": "0.3", "linestyle": "-"} | look) for words, look in found.items()]
    if any(len(part.where(metric="predicted_alignment")) for part in parts):
        result.append(("predicted by the theory", PREDICTED))
    if square and any(main_axis(part) == "width" for part in parts):
        result.append(("square network", SQUARE))
    return result


def draw(folders):
    everything = records.read(folders)
    measured = everything.measured("target_alignment")
    axis, facets, parts = cells(everything)
    rows, columns = layout(measured, facets)
    fig = style.figure(0.8 + (3.4 if columns == 1 else 2.4) * rows, 9.6 if columns > 3 else style.WIDTH)
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    square = square_width(folders[0])
    for ax, (values, cell) in zip(axes.flat, parts):
        draw_panel(ax, cell, axis, square)
        ax.set_title(style.describe(values))
        ax.label_outer()
    frame(axes[0, 0])
    for ax in axes[:, 0]:
        ax.set_ylabel("target alignment")
    for ax in list(axes.flat)[len(parts) :]:
        ax.set_visible(False)
    words = note(style.seeds_text(measured))
    style.legend(fig, measured.models(), words, axis is not None, keys([everything], square))
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
