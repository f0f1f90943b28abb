"""What a program left in its run folder: metrics.csv as columns, and summary.json."""

import csv
import json
from pathlib import Path

import numpy as np

IDENTITY = (
    "rule",
    "rescaling",
    "architecture",
    "init",
    "hidden_layers",
    "width",
    "condition_number",
    "batch_size",
    "learning_rate",
    "targets",
    "steps",
    "dtype",
    "seed",
)
COLUMNS = (*IDENTITY, "step", "metric", "value")
TEXT = {"rule", "rescaling", "architecture", "init", "targets", "dtype", "metric"}
MODEL = ("rule", "rescaling")
DIVERGENCE = 1e6  # an error this many times the initial one is a diverged run, as in the library


class FigureError(Exception):
    """What the user can mend, in one sentence."""


class Records:
    """Measurements by column, one entry each: `records["value"]`, `records["batch_size"]`, ..."""

    def __init__(self, columns):
        self.columns = columns

    def __getitem__(self, column):
        return self.columns[column]

    def __len__(self):
        return len(self.columns["value"])

    def rows(self, mask):
        return Records({name: values[mask] for name, values in self.columns.items()})

    def where(self, **wanted):
        """The rows with these values."""
        mask = np.ones(len(self), dtype=bool)
        for column, value in wanted.items():
            mask &= _equal(self[column], value)
        return self.rows(mask)

    def measured(self, metric):
        """The rows of one metric; a FigureError when there are none."""
        found = self.where(metric=metric)
        if not len(found):
            known = ", ".join(sorted(set(self["metric"])))
            raise FigureError(f"metrics.csv has no metric {metric}, only {known}")
        return found

    def distinct(self, column):
        """Its values: texts in order of appearance, numbers in rising order."""
        if column in TEXT:
            return list(dict.fromkeys(self[column]))
        return [float(value) for value in np.unique(self[column])]

    def varied(self, leave_out):
        """The identity columns that hold several values."""
        return [c for c in IDENTITY if c not in leave_out and len(self.distinct(c)) > 1]

    def split(self, columns):
        """(values, rows) of every combination of the columns' values that occurs."""
        parts = [({}, self)]
        for column in columns:
            parts = [
                (values | {column: value}, rows.where(**{column: value}))
                for values, rows in parts
                for value in rows.distinct(column)
            ]
        return parts

    def models(self):
        """The (rule, rescaling) pairs, in order of appearance."""
        return list(dict.fromkeys(zip(self["rule"], self["rescaling"])))

    def model(self, model):
        return self.where(rule=model[0], rescaling=model[1])

    def over_seeds(self, column):
        """x, rising, and values [len(x), seeds], with NaN where there is none."""
        x, i = np.unique(self[column], return_inverse=True)
        seeds, j = np.unique(self["seed"], return_inverse=True)
        if len(np.unique(i * len(seeds) + j)) < len(self):
            model = " + ".join(self.models()[0])
            raise FigureError(
                f"metrics.csv has several values of {self['metric'][0]} for {model} at the same "
                f"{column.replace('_', ' ')} and seed, so that they cannot be told apart"
            )
        values = np.full((len(x), len(seeds)), np.nan)
        values[i, j] = self["value"]
        return x, values


def _equal(values, wanted):
    if isinstance(wanted, float) and np.isnan(wanted):
        return np.isnan(values)
    return values == wanted


def read(folders):
    """metrics.csv of the run folders, one after the other."""
    table = _Table()
    for folder in folders:
        table.read(_file(folder, "metrics.csv"))
    if not table.value:
        raise FigureError(f"{Path(folders[0]) / 'metrics.csv'} holds no measurements")
    return Records(table.columns())


def read_summary(folder):
    """summary.json; empty when there is none."""
    path = Path(folder) / "summary.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise FigureError(f"{path} is not JSON: {error}") from None


def _file(folder, name):
    folder = Path(folder)
    if not folder.is_dir():
        raise FigureError(f"there is no folder {folder}")
    if not (folder / name).is_file():
        raise FigureError(f"{folder} has no {name}: is it the folder of a run?")
    return folder / name


class _Table:
    """Rows as read. Identities repeat, so each is kept once."""

    def __init__(self):
        self.identities = {}
        self.identity, self.step, self.metric, self.value = [], [], [], []

    def read(self, path):
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            for name in COLUMNS:
                if name not in header:
                    raise FigureError(f"{path} has no column {name}")
            place = {name: header.index(name) for name in COLUMNS}
            identity = [place[name] for name in IDENTITY]
            for row in rows:
                where = f"{path}:{rows.line_num}"
                if len(row) != len(header):
                    raise FigureError(f"{where}: {len(row)} fields instead of {len(header)}")
                key = tuple(row[i] for i in identity)
                if key not in self.identities:
                    _numbers(key, where)
                self.identity.append(self.identities.setdefault(key, len(self.identities)))
                self.step.append(_number(row[place["step"]], "step", where))
                self.metric.append(row[place["metric"]])
                self.value.append(_number(row[place["value"]], "value", where))

    def columns(self):
        cells = [_numbers(key, "") for key in self.identities]
        result = {
            "step": np.array(self.step),
            "metric": np.array(self.metric, dtype=object),
            "value": np.array(self.value),
        }
        for i, name in enumerate(IDENTITY):
            kind = object if name in TEXT else float
            result[name] = np.array([cell[i] for cell in cells], dtype=kind)[self.identity]
        return result


def _numbers(key, where):
    return [
        text if name in TEXT else _number(text, name, where) for name, text in zip(IDENTITY, key)
    ]


def _number(text, column, where):
    try:
        return float(text) if text else np.nan
    except ValueError:
        raise FigureError(f"{where}: {column} '{text}' is not a number") from None
