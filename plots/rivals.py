#!/usr/bin/env python3
"""Models beside each other, each at its best learning rate for every number of samples: a table, --csv,
and a figure. Several runs of one task, such as a long one of a few rates, make one table."""

import argparse
import csv
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import classifier
import records
import style
import training
from records import FigureError

RISING = {"test_accuracy"}  # metrics of which more is better
LONGER = ("learning_rate", "seed", "steps", "epochs", "samples", "test_every", "test_at")
FIELDS = ("model", "samples", "rates", "learning_rate", "seeds", "mean", "sd", "difference", "error")
NOTE = (
    "Mean and one standard deviation over {seeds}, each model at its best learning rate for this number"
    "\nof samples."
)


@dataclass
class Best:
    """One model after a number of samples.

    rates, rate   how many rates were tried, and the best of them
    values        by seed
    """

    model: tuple
    samples: int
    rates: int
    rate: float
    values: dict

    @property
    def mean(self):
        return float(np.mean(list(self.values.values())))

    @property
    def sd(self):
        values = list(self.values.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


# ---- reading


def read(folder):
    """The records of a run; the data set, where it has one, is one more column."""
    found = records.read([folder])
    path = Path(folder) / "config.toml"
    config = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    columns = dict(found.columns)
    if "dataset" in config:
        columns["dataset"] = np.full(len(found), config["dataset"], dtype=object)
    return records.Records(columns)


def tasks(folders, metric):
    """{what tells the task apart: rows of each run}"""
    runs = [read(folder).measured(metric) for folder in folders]
    shared = set.intersection(*(set(run.identity) for run in runs))
    differ = [c for c in runs[0].identity if c in shared and _differs(runs, c)]
    found = {}
    for run in runs:
        for values, rows in run.split(differ):
            found.setdefault(tuple(values.items()), []).append(rows)
    return found


def _differs(runs, column):
    if column in (*LONGER, *records.MODEL, *records.VARIANTS):
        return False
    values = {value for run in runs for value in run.distinct(column)}
    return len(values) > 1 and (column == "dataset" or any(column in run.varied(LONGER) for run in runs)
                                or all(len(run.distinct(column)) == 1 for run in runs))


# ---- the best of each model


def bests(runs, rising):
    """A Best of every model and number of samples; the run with most seeds counts."""
    found = {}
    for rows in runs:
        for model in rows.models():
            for best in bests_of_model(model, rows.model(model), rising):
                key = (model, best.samples)
                if key not in found or len(best.values) > len(found[key].values):
                    found[key] = best
    return found


def bests_of_model(model, rows, rising):
    for step in rows.distinct("step"):
        at_step = rows.where(step=step)
        rates, values = at_step.over_seeds("learning_rate")
        seeds = np.unique(at_step["seed"])
        means = values.mean(axis=1)
        means = np.where(np.isfinite(means), means, -np.inf if rising else np.inf)
        k = int(np.argmax(means) if rising else np.argmin(means))
        if np.isfinite(means[k]):
            samples = int(step * at_step["batch_size"][0])
            by_seed = dict(zip(seeds.tolist(), values[k].tolist()))
            yield Best(model, samples, len(rates), float(rates[k]), by_seed)


def difference(best, other):
    """Mean of best - other over the seeds that both have, and its standard error."""
    seeds = sorted(best.values.keys() & other.values.keys())
    values = np.array([best.values[seed] - other.values[seed] for seed in seeds])
    if len(values) < 2:
        return None
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


# ---- what is written


def table(found, reference):
    """Rows of FIELDS by task; difference and error are of the paired difference from `reference`."""
    for task, entries in found.items():
        for (model, samples), best in sorted(
            entries.items(), key=lambda entry: (entry[0][1], style.in_order([entry[0][0]]), entry[0])
        ):
            row = dict(task) | {
                "model": style.label(model),
                "samples": samples,
                "rates": best.rates,
                "learning_rate": f"{best.rate:.3g}",
                "seeds": len(best.values),
                "mean": f"{best.mean:.5g}",
                "sd": f"{best.sd:.2g}",
            }
            other = entries.get((reference, samples))
            pair = other and model != reference and difference(best, other)
            if pair:
                row |= {"difference": f"{pair[0]:.3g}", "error": f"{pair[1]:.2g}"}
            yield row


def write_csv(path, rows):
    names = [name for name in rows[0] if name not in FIELDS] + list(FIELDS)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def draw_task(ax, entries, metric):
    rising = metric in RISING
    for model in style.in_order([model for model, _ in entries]):
        line = sorted((b for (m, _), b in entries.items() if m == model), key=lambda b: b.samples)
        line = [best for best in line if best.samples > 0]
        x = np.array([best.samples for best in line])
        mean = np.array([1 - best.mean if rising else best.mean for best in line])
        sd = np.array([best.sd for best in line])
        style.band(ax, x, mean - sd, mean + sd, model)
        ax.plot(x, mean, **style.line(model))
    ax.set_xscale("log")
    ax.set_yscale("log")
    if rising:
        classifier.show_as_accuracy(ax)
    else:
        style.log_axis(ax.yaxis, *ax.get_ylim())
    ax.set_xlabel("training samples")
    ax.set_ylabel(training.Y_LABELS.get(metric, style.name(metric)))


def draw(found, metric):
    across = min(3, len(found))
    down = -(-len(found) // across)
    fig = style.figure(1.0 + 2.5 * down)
    axes = fig.subplots(down, across, squeeze=False).flat
    for ax, (task, entries) in zip(axes, found.items()):
        draw_task(ax, entries, metric)
        ax.set_title(style.describe(dict(task)))
    for ax in list(axes)[len(found):]:
        ax.set_axis_off()
    counts = [len(best.values) for entries in found.values() for best in entries.values()]
    seeds = f"{min(counts)} to {max(counts)} seeds" if min(counts) < max(counts) else f"{counts[0]} seeds"
    models = [model for entries in found.values() for model, _ in entries]
    style.legend(fig, models, NOTE.format(seeds=seeds))
    return fig


# ---- command line


def parse_reference(text):
    rule, _, rescaling = text.partition(",")
    return rule, rescaling or "none"


def act(arguments):
    rising = arguments.metric in RISING
    found = {task: bests(runs, rising) for task, runs in tasks(arguments.run, arguments.metric).items()}
    rows = list(table(found, parse_reference(arguments.reference)))
    if not rows:
        raise FigureError(f"every model has diverged at every rate of {arguments.run[0]}")
    if arguments.csv:
        write_csv(Path(arguments.csv), rows)
    style.draw_to(Path(arguments.out), lambda: draw(found, arguments.metric))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="+", help="run folder, with metrics.csv")
    parser.add_argument("--metric", default="test_accuracy", help="default %(default)s")
    parser.add_argument("--reference", default="kpc", metavar="RULE[,RESCALING]",
                        help="model that the others are paired with, by seed (default %(default)s)")
    parser.add_argument("--csv", help="the table")
    parser.add_argument("--out", required=True, help="picture: .png, .pdf or .svg")
    arguments = parser.parse_args(argv)
    return style.attempt(parser.prog, lambda: act(arguments))


if __name__ == "__main__":
    sys.exit(main())
