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
MEASURED = ("step", "metric", "value")
TEXT = {"rule", "rescaling", "architecture", "init", "targets", "dtype"}
MODEL = ("rule", "rescaling")
VARIANTS = {"optimizer": "sgd", "collapsed": "false"}  # part of the model where a run has several
DIVERGENCE = 1e6  # an error this many times the initial one is a diverged run, as in the library


class FigureError(Exception):
    """What the user can mend, in one sentence."""


class Records:
    """Measurements by column, one entry each: `records["value"]`, `records["batch_size"]`, ... Beside
    those of IDENTITY there are columns for every other key that a run swept."""

    def __init__(self, columns):
        self.columns = columns

    def __getitem__(self, column):
        return self.columns[column]

    def __len__(self):
        return len(self.columns["value"])

    @property
    def identity(self):
        return [name for name in self.columns if name not in MEASURED]

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
        if self[column].dtype == object:
            return list(dict.fromkeys(self[column]))
        return [float(value) for value in np.unique(self[column])]

    def varied(self, leave_out):
        """The identity columns that hold several values; a column of a run's own counts only where
        one and the same model has several, since each model may be given its own value."""
        left = [c for c in self.identity if c not in leave_out and c not in VARIANTS]
        return [c for c in left if len(self.distinct(c)) > 1 and (c in IDENTITY or self._mixes(c))]

    def _mixes(self, column):
        return any(len(self.model(model).distinct(column)) > 1 for model in self.models())

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


def plain(rescaling):
    """The rescaling of a model: "projection" of "projection+collapsed"."""
    return rescaling.partition("+")[0]


def _name_variants(columns):
    """Adds "+adam", "+collapsed" to the rescaling where a run has models with and without."""
    for column, usual in VARIANTS.items():
        values = columns.get(column)
        if values is None or len(set(values)) < 2:
            continue
        names = ["" if v in (usual, "") else "+" + (column if v == "true" else v) for v in values]
        columns["rescaling"] = columns["rescaling"] + np.array(names, dtype=object)


def same(value, of_json):
    """Whether a field of metrics.csv is this value of summary.json."""
    if isinstance(of_json, bool):
        return value == str(of_json).lower()
    return value == of_json


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
    """Rows as read. Identities repeat, so each is kept once: as (name, text) pairs."""

    def __init__(self):
        self.names = list(IDENTITY)
        self.identities = {}
        self.identity, self.step, self.metric, self.value = [], [], [], []

    def read(self, path):
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            for name in (*IDENTITY, *MEASURED):
                if name not in header:
                    raise FigureError(f"{path} has no column {name}")
            place = {name: i for i, name in enumerate(header)}
            identity = [(name, i) for name, i in place.items() if name not in MEASURED]
            self.names += [name for name, _ in identity if name not in self.names]
            for row in rows:
                where = f"{path}:{rows.line_num}"
                if len(row) != len(header):
                    raise FigureError(f"{where}: {len(row)} fields instead of {len(header)}")
                key = tuple((name, row[i]) for name, i in identity)
                if key not in self.identities:
                    _check_numbers(key, where)
                self.identity.append(self.identities.setdefault(key, len(self.identities)))
                self.step.append(_number(row[place["step"]], "step", where))
                self.metric.append(row[place["metric"]])
                self.value.append(_number(row[place["value"]], "value", where))

    def columns(self):
        cells = [dict(key) for key in self.identities]
        result = {
            "step": np.array(self.step),
            "metric": np.array(self.metric, dtype=object),
            "value": np.array(self.value),
        }
        for name in self.names:
            result[name] = _column(name, [cell.get(name, "") for cell in cells])[self.identity]
        _name_variants(result)
        return result


def _column(name, texts):
    if name in TEXT or (name not in IDENTITY and not all(map(_is_number, texts))):
        return np.array(texts, dtype=object)
    return np.array([_number(text, name, "") for text in texts])


def _check_numbers(key, where):
    for name, text in key:
        if name in IDENTITY and name not in TEXT:
            _number(text, name, where)


def _is_number(text):
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def _number(text, column, where):
    try:
        return float(text) if text else np.nan
    except ValueError:
        raise FigureError(f"{where}: {column} '{text}' is not a number") from None
