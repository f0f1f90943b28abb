"""Two panels on a training experiment: curves at each model's best learning rate, and the sweep that
found it. Both have the mean over seeds of the error itself, as the best rate is chosen by it."""

import math
import textwrap
from dataclasses import dataclass

import numpy as np

from . import records, style

FLOOR = 1e-32  # errors below are rounding, and are drawn as this much
BEST_BY = {  # of summary.json
    "final": ", the one with the lowest final {measure}",
    "area": ", the one with the lowest mean of the logarithm over the run",
}
METRICS = ("test_error", "map_error", "train_error")
Y_LABELS = {
    "map_error": "map error",
    "test_error": "test error",
    "train_error": "error on fresh batches",
    "wrong_answers": "test accuracy",
}


@dataclass
class Trained:
    """One model in one cell of an experiment.

    rates, final   mean over seeds of the last error at each rate, infinite where some seed diverged
    best           index of the chosen rate; None when every rate diverged
    steps, curves  its errors, [steps, seeds]
    initial        error before training
    """

    model: tuple
    rates: np.ndarray
    final: np.ndarray
    initial: float  # not finite where no seed's is
    best: int | None = None
    steps: np.ndarray | None = None
    curves: np.ndarray | None = None

    @property
    def at_edge(self):
        """-1 at the lowest of several rates, 1 at the highest, else 0."""
        if self.best is None or len(self.rates) == 1:
            return 0
        return {0: -1, len(self.rates) - 1: 1}.get(self.best, 0)


def error_metric(everything):
    """What the best rate was chosen by."""
    present = set(everything["metric"])
    for metric in METRICS:
        if metric in present:
            return metric
    raise records.FigureError(
        f"metrics.csv has none of {', '.join(METRICS)}, only {', '.join(sorted(present))}"
    )


def cells(everything, metric):
    """(values, rows) of every task that was trained on."""
    errors = everything.measured(metric)
    errors = errors.rows(np.isfinite(errors["step"]))
    if not len(errors):
        raise records.FigureError(f"metrics.csv has no step of any {metric}")
    return errors.split(errors.varied(leave_out=(*records.MODEL, "learning_rate", "seed")))


def trained_models(cell, summaries):
    return [
        _trained(model, cell.model(model), summaries) for model in style.in_order(cell.models())
    ]


def _trained(model, rows, summaries):
    first = rows.rows(rows["step"] == rows["step"].min()).over_seeds("learning_rate")[1]
    rates, last = rows.rows(rows["step"] == rows["step"].max()).over_seeds("learning_rate")
    known = first[records.drawable(first)]
    initial = np.where(records.drawable(first), np.abs(first), records.CEILING)
    diverged = ~records.drawable(last) | (last > records.DIVERGENCE * initial)
    final = np.where(diverged.any(axis=1), np.inf, np.where(diverged, 0, last).mean(axis=1))
    result = Trained(model, rates, final, float(known.max()) if len(known) else math.nan)
    result.best = _best(result, _chosen_rate(rows, summaries))
    if result.best is not None:
        chosen = rows.where(learning_rate=rates[result.best])
        result.steps, result.curves = chosen.over_seeds("step")
    return result


def _best(trained, chosen):
    """The rate the program chose; without its summary, the one with the lowest final error."""
    if chosen is not None:
        return int(np.argmin(np.abs(trained.rates - chosen)))
    return int(np.argmin(trained.final)) if np.isfinite(trained.final).any() else None


def _chosen_rate(rows, summaries):
    for summary in summaries:
        for entry in summary.get("models", []):
            if entry.get("best_rate") and _describes(entry, rows):
                return float(entry["best_rate"])
    return None


def _describes(entry, rows):
    if records.plain(rows["rescaling"][0]) != entry.get("rescaling"):
        return False
    shared = [c for c in rows.identity if c in entry and c != "rescaling"]
    return all(records.same(rows[column][0], entry[column]) for column in shared)


def draw_curves(ax, models, metric, steps="steps"):
    """Mean, and one standard deviation as far as there are seeds."""
    for k, trained in enumerate(models):
        if trained.curves is None:
            continue
        shown = style.thinned(len(trained.steps))
        mean, low, high = mean_and_range(trained.curves[shown])
        style.band(ax, trained.steps[shown], low, high, trained.model)
        every = max(1, len(mean) // 6)
        start = k * every // len(models)
        ax.plot(
            trained.steps[shown], mean, markevery=(start, every), **style.line(trained.model)
        )
    ax.set_yscale("log")
    style.log_axis(ax.yaxis, *ax.get_ylim())
    ax.set_xlabel("\n".join([steps, *_diverged_everywhere(models)]))
    ax.set_ylabel(Y_LABELS[metric])


def mean_and_range(curves):
    """Of [steps, seeds] the mean, and the ends of one standard deviation on both sides of it, cut to where
    seeds are."""
    errors = np.where(records.drawable(curves), np.maximum(curves, FLOOR), np.nan)
    unit = errors.max(axis=1, keepdims=True)  # squares stay finite
    mean = (errors / unit).mean(axis=1, keepdims=True) * unit
    seeds = errors.shape[1]
    spread = (errors / unit).std(axis=1, ddof=1, keepdims=True) * unit if seeds > 1 else 0 * mean
    low = np.maximum(mean - spread, errors.min(axis=1, keepdims=True))
    high = np.minimum(mean + spread, errors.max(axis=1, keepdims=True))
    return mean[:, 0], low[:, 0], high[:, 0]


def _diverged_everywhere(models):
    names = [style.label(trained.model) for trained in models if trained.best is None]
    return textwrap.wrap("diverged at every rate: " + ", ".join(names), 44) if names else []


def draw_sweep(ax, models, metric):
    """Last error over the learning rate: chosen rates are marked, diverged ones crosses on top."""
    low, high = _range_of_sweep(models)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    for k, trained in enumerate(models):
        look = style.line(trained.model)
        shown = np.maximum(np.where(np.isfinite(trained.final), trained.final, np.nan), FLOOR)
        ax.plot(trained.rates, shown, **look | {"marker": "" if len(shown) > 1 else look["marker"]})
        _draw_diverged(ax, trained, look, 1 - 0.03 * k)
        if trained.best is not None:
            _draw_best(ax, trained, look, shown[trained.best])
    style.log_axis(ax.yaxis, low, high)
    ax.set_xlabel("learning rate")
    ax.set_ylabel(f"final {Y_LABELS[metric]}")


def _range_of_sweep(models):
    """From below the lowest error to above the first one: what became worse is left out."""
    initial = [trained.initial for trained in models if trained.initial > FLOOR]
    final = np.concatenate([trained.final[np.isfinite(trained.final)] for trained in models])
    if not initial and not len(final):
        return 0.1, 1.0
    top = max(initial) if initial else max(final.max(), FLOOR)
    least = max(FLOOR, min([top, *final]))
    decades = math.log10(top / least) + 0.1
    return least * 10 ** (-0.06 * decades), top * 10 ** (0.2 * decades)


def _draw_diverged(ax, trained, look, height):
    rates = trained.rates[~np.isfinite(trained.final)]
    if not len(rates):
        return
    ax.plot(
        rates,
        np.full(len(rates), height),
        **CROSS | {"color": look["color"]},
        transform=ax.get_xaxis_transform(),
        clip_on=False,
    )


CROSS = {"marker": "x", "linestyle": "", "markersize": 3.5, "markeredgewidth": 0.9}


def _draw_best(ax, trained, look, error):
    rate = trained.rates[trained.best]
    ax.plot([rate], [error], **look | {"linestyle": "", "markersize": 7, "zorder": 4})
    if trained.at_edge:
        ax.annotate(
            "◂" if trained.at_edge < 0 else "▸",
            (rate, error),
            xytext=(5 * trained.at_edge, 0),
            textcoords="offset points",
            ha="right" if trained.at_edge < 0 else "left",
            va="center",
            fontsize=style.points(9),
            color=look["color"],
        )


# ---- what the legend and the note say


def keys(models):
    """What the legend of a sweep has beside the models."""
    if any(has_diverged(trained) for trained in models):
        return [("some seed diverged", CROSS | {"color": "0.3"})]
    return []


def has_diverged(trained):
    return not np.isfinite(trained.final).all()


def note(seeds, models, summaries, swept, measure="error"):
    """What curves and sweeps of these models are, of which the measure chose the best rates."""
    rules = {summary["best_by"] for summary in summaries if summary.get("best_by") in BEST_BY}
    rule = BEST_BY[rules.pop()].format(measure=measure) if len(rules) == 1 else ""
    if rule and all(map(validates, summaries)):
        rule += ", of validation images"
    lines = [f"Curves: {style.averages(seeds)}, each model at its best rate{rule}."]
    if swept:
        arrows = ", with an arrow at an end of the range" if any(m.at_edge for m in models) else ""
        lines.append(f"Sweep: mean final {measure}; large markers: best rate{arrows}.")
    return "\n".join(lines)


def validates(summary):
    """Whether images other than those for testing chose the best rates."""
    chosen_by = [str(model.get("chosen_by", "")) for model in summary.get("models", [])]
    return bool(chosen_by) and all(name.startswith("validation") for name in chosen_by)


def has_sweep(models):
    return any(len(trained.rates) > 1 for trained in models)
