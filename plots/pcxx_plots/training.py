"""Two panels on a training experiment: curves at each model's best learning rate, and the sweep that
found it."""

from dataclasses import dataclass

import numpy as np

from . import records, style

BOX = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}  # behind words on curves
FLOOR = 1e-32  # errors below are rounding: they count as this much under the logarithm
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

    rates, final   mean over seeds of the last error at each rate, infinite where a seed diverged
    best           index of the chosen rate; None when every rate diverged
    steps, curves  its errors, [steps, seeds]
    initial        error before training
    """

    model: tuple
    rates: np.ndarray
    final: np.ndarray
    initial: float
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
    return errors.split(errors.varied(leave_out=(*records.MODEL, "learning_rate", "seed")))


def trained_models(cell, summaries):
    return [
        _trained(model, cell.model(model), summaries) for model in style.in_order(cell.models())
    ]


def _trained(model, rows, summaries):
    first = rows.rows(rows["step"] == rows["step"].min()).over_seeds("learning_rate")[1]
    rates, last = rows.rows(rows["step"] == rows["step"].max()).over_seeds("learning_rate")
    diverged = ~np.isfinite(last) | (last > records.DIVERGENCE * np.abs(first))
    final = np.where(diverged.any(axis=1), np.inf, np.where(diverged, 0, last).mean(axis=1))
    result = Trained(model, rates, final, float(np.nanmax(first)))
    result.best = _best(result, _chosen_rate(rows, summaries))
    if result.best is not None:
        chosen = rows.where(learning_rate=rates[result.best])
        result.steps, result.curves = chosen.over_seeds("step")
    return result


def _best(trained, chosen):
    """The rate the program chose; without its summary, the one with the lowest final error."""
    if chosen is not None:
        return int(np.argmin(np.abs(np.log(trained.rates / chosen))))
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


def draw_curves(ax, models, metric):
    """Mean in the logarithm and one standard deviation of it."""
    everywhere = []
    for k, trained in enumerate(models):
        if trained.curves is None:
            everywhere.append(f"{style.label(trained.model)}:\ndiverged at every rate")
            continue
        shown = style.thinned(len(trained.steps))
        steps, logs = trained.steps[shown], np.log10(np.maximum(trained.curves[shown], FLOOR))
        mean, spread = logs.mean(axis=1), logs.std(axis=1, ddof=1 if logs.shape[1] > 1 else 0)
        style.band(ax, steps, 10 ** (mean - spread), 10 ** (mean + spread), trained.model)
        every = max(1, len(mean) // 8)
        start = k * every // len(models)
        ax.plot(steps, 10**mean, markevery=(start, every), **style.line(trained.model))
    if everywhere:
        text = "\n".join(everywhere)
        look = {"fontsize": style.points(6.5), "color": "0.3", "zorder": 5, "bbox": BOX}
        ax.text(0.03, 0.03, text, transform=ax.transAxes, **look)
    ax.set_yscale("log")
    style.log_axis(ax.yaxis, *ax.get_ylim())
    ax.set_xlabel("steps")
    ax.set_ylabel(Y_LABELS[metric])


def draw_sweep(ax, models, metric):
    """Last error over the learning rate: chosen rates are marked, diverged ones crosses on top."""
    least = max(FLOOR, min(min(trained.initial, trained.final.min()) for trained in models))
    initial = max(trained.initial for trained in models)
    decades = np.log10(initial / least) + 0.1
    low, high = least * 10 ** (-0.06 * decades), initial * 10 ** (0.2 * decades)
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


def _draw_diverged(ax, trained, look, height):
    rates = trained.rates[~np.isfinite(trained.final)]
    if not len(rates):
        return
    ax.plot(
        rates,
        np.full(len(rates), height),
        "x",
        color=look["color"],
        markersize=3.5,
        markeredgewidth=0.9,
        transform=ax.get_xaxis_transform(),
        clip_on=False,
    )


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


NOTE = (
    "Curves: mean of the logarithm and one standard deviation over {seeds}, at each model's best rate."
)
SWEEP_NOTE = (
    "\nSweep: mean final error; large markers: best rate, with an arrow at an end of the range; "
    "crosses on top: diverged in some seed."
)


def has_sweep(models):
    return any(len(trained.rates) > 1 for trained in models)
