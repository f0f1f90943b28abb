"""Panels on why a model learns as it does: the alignment of every update, and what each layer does."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from . import alignment, records, style, training

MEASURES = {"target_alignment": "on the batch", "held_out_alignment": "on held-out samples"}
LAYERS = {  # metric of a layer: words, whether on a log axis
    "alignment": ("x*·x̂", False),
    "feedforward_norm": ("|x̂|", True),
    "presynaptic_norm": ("|x*|", True),
    "interference": ("interference", False),
}
ROUNDING = 1e-28  # an error below, and what is aligned with it, is rounding
NOTE = (
    "Alignment: mean over {seeds} at each model's best rate while the error is above 1e-28, smoothed over "
    "5 % of the steps."
)


def smoothed(values, width):
    """Running mean over `width` steps, without the steps that have no value."""
    known = np.isfinite(values)
    sums = np.convolve(np.where(known, values, 0), np.ones(width), "same")
    counts = np.convolve(known, np.ones(width), "same")
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def without_rounding(values, steps, trained):
    """Alignments of [steps, seeds], NaN once the seed's error is nothing but rounding."""
    place = np.searchsorted(trained.steps, steps).clip(max=len(trained.steps) - 1)
    if trained.curves.shape[1] != values.shape[1]:
        return values
    least = np.minimum.accumulate(np.nan_to_num(trained.curves, nan=np.inf), axis=0)
    return np.where(least[place] > ROUNDING, values, np.nan)


def draw_alignments(ax, cell, summary, metric, measure):
    """Mean over seeds of an alignment at every step of training."""
    errors = cell.measured(metric)
    rows = cell.measured(measure)
    for trained in training.trained_models(errors, [summary]):
        if trained.best is None:
            continue
        chosen = rows.model(trained.model).where(learning_rate=trained.rates[trained.best])
        if not len(chosen):
            continue
        steps, values = chosen.over_seeds("step")
        mean, _ = alignment.mean_and_spread(without_rounding(values, steps, trained))
        shown = style.thinned(len(steps))
        mean = smoothed(mean, max(1, len(steps) // 20))
        look = style.line(trained.model)
        ax.plot(steps[shown], mean[shown], markevery=0.15, **look)
    ax.set_ylim(top=1.03)
    ax.set_xlabel("steps")
    ax.set_ylabel(f"alignment {MEASURES[measure]}")


def draw_layers(ax, cell, quantity):
    """One quantity of every layer, layer 1 at the input."""
    words, logarithmic = LAYERS[quantity]
    for model in style.in_order(cell.models()):
        rows = cell.model(model)
        layers, means, spreads = [], [], []
        for layer in range(1, 1000):
            values = rows.where(metric=f"layer{layer}.{quantity}")["value"]
            if not len(values):
                break
            layers.append(layer)
            known = values[records.drawable(values)]
            means.append(known.mean() if len(known) else np.nan)
            spreads.append(known.std(ddof=1) if len(known) > 1 else 0)
        if not layers:
            raise records.FigureError("metrics.csv has no diagnostics of layers")
        mean, spread = np.array(means), np.array(spreads)
        low = mean - spread
        if logarithmic:
            low = np.maximum(low, mean / 10)
        style.band(ax, layers, low, mean + spread, model)
        ax.plot(layers, mean, **style.line(model))
    if logarithmic:
        ax.set_yscale("log")
        style.log_axis(ax.yaxis, *ax.get_ylim())
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("layer")
    ax.set_ylabel(words)
