"""Models beside each other, each at its best learning rate for every number of samples: a table, --csv,
and a figure. Runs of one task, with other rates or of other lengths, make one table. A table that was kept
stands for its runs; a row of it gives way to one of as many seeds and rates from the runs beside it."""

import argparse
import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import classifier, records, style, training
from .records import FigureError

RISING = {"test_accuracy"}  # metrics of which more is better
LONGER = ("learning_rate", "seed", "steps", "epochs", "samples", "test_every", "test_at")
FIELDS = (
    "rule",
    "rescaling",
    "optimizer",
    "samples",
    "rates",
    "learning_rate",
    "seeds",
    "mean",
    "sd",
    "difference",
    "difference_error",
)
NOTE = (
    "Mean and one standard deviation over {seeds}, each model at its best learning rate for this number"
    "\nof samples."
)


@dataclass
class Best:
    """One model after a number of samples.

    rates, rate   how many rates were tried, and the best of them
    difference    from the reference: mean over the seeds that both have, and its standard error
    values        by seed; none of a kept table's
    """

    model: tuple
    samples: int
    rates: int
    rate: float
    seeds: int
    mean: float
    sd: float
    difference: tuple | None = None
    values: dict = field(default_factory=dict)


# ---- reading


def read(folder, metric):
    """The records of a run after its first update, and its config."""
    rows = records.read([folder])
    return after_training(with_choice(rows.measured(metric), rows)), records.read_config(folder)


def with_choice(found, rows):
    """A column beside the values: what rates are chosen by, which is the same metric of the
    validation images where the run has some."""
    metric = "validation_" + found["metric"][0].removeprefix("test_")
    chosen = found["value"]
    if metric in rows["metric"]:
        names = [name for name in rows.columns if name not in ("metric", "value")]
        validation = rows.measured(metric)
        values = dict(zip(_places(validation, names), validation["value"].tolist()))
        chosen = np.array([values.get(place, np.nan) for place in _places(found, names)])
    return records.Records(found.columns | {records.CHOOSING: chosen})


def _places(rows, names):
    return [tuple(map(str, place)) for place in zip(*(rows[name].tolist() for name in names))]


def with_columns(run, config, names):
    """The records with these columns; what the run did not vary is in its config."""
    columns = dict(run.columns)
    for name in names:
        if name not in columns and isinstance(config.get(name), (int, float, str)):
            value = config[name]
            text = str(value).lower() if isinstance(value, bool) else value
            dtype = object if isinstance(text, str) else float
            columns[name] = np.full(len(run), text, dtype=dtype)
    return records.Records(columns)


def after_training(rows):
    return rows.rows(rows["step"] > 0)


def tasks(folders, metric, differ=None):
    """{what tells the task apart: rows of each run}, where `differ` has the names of that, if they are
    known."""
    found = [read(folder, metric) for folder in folders]
    names = {"dataset"}.union(differ or (), *(run.identity for run, _ in found))
    runs = [with_columns(run, config, sorted(names)) for run, config in found]
    shared = set.intersection(*(set(run.identity) for run in runs))
    if differ is None:
        differ = [c for c in runs[0].identity if c in shared and _differs(runs, c)]
        differ.sort(key=lambda column: column != "dataset")
    for name in differ:
        if name not in shared:
            raise FigureError(f"the table's tasks differ in {name}, which {folders[0]} does not tell")
    found = {}
    for run in runs:
        for values, rows in run.split(differ):
            found.setdefault(tuple(values.items()), []).append(rows)
    return found


def _differs(runs, column):
    if column in (*LONGER, *records.MODEL, *records.VARIANTS):
        return False
    alone = all(len(run.distinct(column)) == 1 for run in runs)  # else a model may have its own
    values = {str(value) for run in runs for value in run.distinct(column)}
    return len(values) > 1 and (alone or any(column in run.varied(LONGER) for run in runs))


# ---- a kept table


def kept(path):
    """{task: its Bests} of a table that --csv left."""
    try:
        rows = list(csv.DictReader(io.StringIO(records.read_text(path), newline="")))
    except csv.Error as error:
        raise FigureError(f"{path}: {error}") from None
    if not rows or not set(FIELDS) <= rows[0].keys():
        raise FigureError(f"{path} is no table of this program: it has not the columns {', '.join(FIELDS)}")
    names = [name for name in rows[0] if name not in FIELDS]
    found = {}
    for line, row in enumerate(rows, start=2):
        try:
            best = best_of_row(row)
            task = tuple((name, number_or_text(row[name])) for name in names)
        except (TypeError, ValueError) as error:
            raise FigureError(f"{path}:{line}: {error}") from None
        found.setdefault(task, {})[best.model, best.samples] = best
    return found


def best_of_row(row):
    variant = "" if row["optimizer"] == "sgd" else "+" + row["optimizer"]
    best = Best(
        (row["rule"], row["rescaling"] + variant),
        int(row["samples"]),
        int(row["rates"]),
        float(row["learning_rate"]),
        int(row["seeds"]),
        float(row["mean"]),
        float(row["sd"]),
    )
    if row["difference"]:
        best.difference = float(row["difference"]), float(row["difference_error"])
    return best


def number_or_text(text):
    try:
        return float(text)
    except ValueError:
        return text


def take(entries, newer):
    """Of one model after one number of samples, the Best of more seeds counts, and of as many seeds the one
    of more rates; of equals the newer."""
    for key, best in newer.items():
        old = entries.get(key)
        if old is None or (best.seeds, best.rates) >= (old.seeds, old.rates):
            entries[key] = best


# ---- the best of each model


def bests(runs, rising, reference):
    """A Best of every model and number of samples."""
    rows = joined(runs)
    found = {}
    for model in rows.models():
        for best in bests_of_model(model, rows.model(model), rising):
            found[model, best.samples] = best
    for (model, samples), best in found.items():
        other = found.get((reference, samples))
        if other and model != reference:
            best.difference = difference(best, other)
    return found


def joined(runs):
    """The rows of all runs, of the columns that all have."""
    names = [name for name in runs[0].columns if all(name in run.columns for run in runs)]
    columns = {name: np.concatenate([run[name] for run in runs]) for name in names}
    return records.Records(columns)


def bests_of_model(model, rows, rising):
    for step in rows.distinct("step"):
        at_step = rows.where(step=step)
        by_rate = {rate: at_step.where(learning_rate=rate) for rate in rates_of(at_step)}
        finite = {rate: r for rate, r in by_rate.items() if np.isfinite([r["value"], r[records.CHOOSING]]).all()}
        if finite:
            choose = max if rising else min
            rate = choose(finite, key=lambda rate: np.mean(finite[rate][records.CHOOSING]))
            samples = int(step * at_step["batch_size"][0])
            values = by_seed(finite[rate])
            mean, sd = moments(list(values.values()))
            yield Best(model, samples, len(by_rate), rate, len(values), mean, sd, values=values)


def moments(values):
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def rates_of(rows):
    """The rates that were tried from most seeds: others are not to be compared with them."""
    rates = rows.distinct("learning_rate")
    seeds = [len(by_seed(rows.where(learning_rate=rate))) for rate in rates]
    return [rate for rate, count in zip(rates, seeds) if count == max(seeds)]


def by_seed(rows):
    return dict(zip(rows["seed"].tolist(), rows["value"].tolist()))


def only(entries, samples):
    kept = {key: best for key, best in entries.items() if best.samples in samples}
    if not kept:
        raise FigureError(f"nothing was measured after {samples[0]} samples")
    return kept


def difference(best, other):
    """Mean of best - other over the seeds that both have, and its standard error."""
    seeds = sorted(best.values.keys() & other.values.keys())
    values = np.array([best.values[seed] - other.values[seed] for seed in seeds])
    if len(values) < 2:
        return None
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


# ---- what is written


def table(found):
    """Rows of FIELDS by task."""
    for task, entries in found.items():
        order = style.in_order([model for model, _ in entries])
        for model, samples in sorted(entries, key=lambda key: (key[1], order.index(key[0]))):
            best = entries[model, samples]
            rule, rescaling, variant = style.parts(model)
            row = {name: _text(value) for name, value in task} | {
                "rule": rule,
                "rescaling": rescaling,
                "optimizer": variant or "sgd",
                "samples": samples,
                "rates": best.rates,
                "learning_rate": f"{best.rate:.3g}",
                "seeds": best.seeds,
                "mean": f"{best.mean:.5g}",
                "sd": f"{best.sd:.2g}",
            }
            if best.difference:
                mean, error = best.difference
                row |= {"difference": f"{mean:.3g}", "difference_error": f"{error:.2g}"}
            yield row


def _text(value):
    return f"{value:g}" if isinstance(value, float) else value


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
    axes = list(fig.subplots(down, across, squeeze=False).flat)
    for ax, (task, entries) in zip(axes, found.items()):
        draw_task(ax, entries, metric)
        ax.set_title(style.describe(dict(task)))
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    counts = [best.seeds for entries in found.values() for best in entries.values()]
    low, high = min(counts), max(counts)
    seeds = f"{low} to {high} seeds" if low < high else f"{high} seeds"
    models = [model for entries in found.values() for model, _ in entries]
    style.legend(fig, models, NOTE.format(seeds=seeds))
    return fig


# ---- command line


def parse_reference(text):
    rule, _, rescaling = text.partition(",")
    return rule, rescaling or "none"


def tables_of(arguments):
    return [name for name in arguments.run if name.endswith(".csv")]


def measured(arguments):
    """Bests of all runs and kept tables, by task."""
    tables = tables_of(arguments)
    runs = [name for name in arguments.run if name not in tables]
    found = {}
    for name in tables:
        for task, entries in kept(Path(name)).items():
            take(found.setdefault(task, {}), entries)
    reference = parse_reference(arguments.reference)
    differ = [name for name, _ in next(iter(found))] if found else None
    of_runs = tasks(runs, arguments.metric, differ) if runs else {}
    for task, rows in of_runs.items():
        entries = bests(rows, arguments.metric in RISING, reference)
        take(found.setdefault(task, {}), entries)
    return found


def act(arguments):
    if arguments.metric is None:
        for name in tables_of(arguments):
            raise FigureError(f"{name} does not tell what was measured: --metric test_accuracy, say")
        arguments.metric = "test_accuracy"
    found = measured(arguments)
    if arguments.samples:
        found = {task: only(entries, arguments.samples) for task, entries in found.items()}
    rows = list(table(found))
    if not rows:
        raise FigureError(f"every model has diverged at every rate of {arguments.run[0]}")
    if arguments.csv:
        write_csv(Path(arguments.csv), rows)
    style.draw_to(Path(arguments.out), lambda: draw(found, arguments.metric))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="+", help="run folder, with metrics.csv, or table.csv of --csv")
    parser.add_argument("--metric", help="default test_accuracy; to be named where a table is given")
    parser.add_argument("--reference", default="kpc", metavar="RULE[,RESCALING]",
                        help="model that the others are paired with, by seed (default %(default)s)")
    parser.add_argument("--samples", type=int, nargs="+", help="only after these numbers of samples")
    parser.add_argument("--csv", help="the table")
    parser.add_argument("--out", required=True, help="picture: .png, .pdf or .svg")
    arguments = parser.parse_args(argv)
    return style.attempt(parser.prog, lambda: act(arguments))
