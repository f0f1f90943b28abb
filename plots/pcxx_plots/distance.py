"""Accuracy of classifiers against how far from its equilibrium predictive coding stopped: each model at the rate
that the validation images chose, the residual as measure = ["inference"] records it. Backpropagation, which has none,
is a line."""

from dataclasses import dataclass

import numpy as np

from . import records, style

RESIDUAL = "inference_residual"
CHOOSES = "validation_accuracy"
SHOWN = "test_accuracy"
CROWDED = 0.2  # residuals beyond have their words on the left
TOLD = ("inference", "inference_steps", "nudging", "centred")  # columns that tell models apart


@dataclass
class Point:
    """One model at its best rate: values of its columns, mean residual over the run (NaN without an inference), and
    the test accuracy of each seed."""

    values: dict
    residual: float
    accuracies: np.ndarray


def final(rows, metric):
    """The last value of each seed."""
    return rows.where(metric=metric).over_seeds("step")[1][-1]


def point_of(values, rows):
    rates = np.unique(rows["learning_rate"])
    by_rate = [rows.where(learning_rate=rate) for rate in rates]
    best = by_rate[int(np.argmax([np.nan_to_num(final(one, CHOOSES)).mean() for one in by_rate]))]
    residuals = best.where(metric=RESIDUAL)["value"]
    residual = float(np.mean(residuals)) if len(residuals) else np.nan
    return Point(values, residual, final(best, SHOWN))


def points(everything):
    columns = [name for name in ("rule", "rescaling", *TOLD) if name in everything.columns]
    keys = list(zip(*(everything[name] for name in columns)))
    found = []
    for key in dict.fromkeys(keys):
        values = dict(zip(columns, key))
        found.append(point_of(values, everything.where(**values)))
    return found


def words(values):
    """The method and its passes, and what outputs are nudged by."""
    told = [style.label_of_solver(values["inference"])] if "inference" in values else []
    if "inference_steps" in values:
        told.append(f"{values['inference_steps']:g}" if told else f"{values['inference_steps']:g} passes")
    if values.get("nudging", 1) != 1:
        told.append(f"beta {values['nudging']:g}")
    if values.get("centred") == "true":
        told.append("centred")
    return " ".join(told)


def draw(folders):
    everything = records.read(folders)
    everything.measured(SHOWN)
    everything.measured(CHOOSES)
    fig = style.figure(3.6)
    ax = fig.add_subplot()
    for one in points(everything):
        model = (one.values["rule"], one.values["rescaling"])
        mean = 100 * one.accuracies.mean()
        if np.isnan(one.residual):
            ax.axhline(mean, **(style.line(model) | {"marker": ""}))
            continue
        ax.plot([one.residual], [mean], **(style.line(model) | {"linestyle": ""}))
        left = one.residual > CROWDED
        place = {"xytext": (-5 if left else 5, 3), "ha": "right" if left else "left"}
        look = {"textcoords": "offset points", "fontsize": style.points(6)}
        ax.annotate(words(one.values), (one.residual, mean), **place, **look)
    ax.set_xscale("log")
    ax.set_xlabel("largest residual in a batch, mean over the run")
    ax.set_ylabel("test accuracy in %")
    seeds = style.averages(style.seeds_text(everything))
    style.legend(fig, everything.models(), f"{seeds}; rates chosen by validation images.")
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
