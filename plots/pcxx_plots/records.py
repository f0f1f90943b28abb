"""What a program left in its run folder: metrics.csv as columns, and summary.json."""

import csv
import io
import json
import math
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
CHOOSING = "choosing"  # a column of rivals.py's own, beside each value
TEXT = {"rule", "rescaling", "architecture", "init", "targets", "dtype"}
MODEL = ("rule", "rescaling")
VARIANTS = {"optimizer": "sgd", "collapsed": "false"}  # part of the model where a run has several
DIVERGENCE = 1e6  # an error this many times the initial one is a diverged run, as in the library

CEILING = 1e150  # what is not below has no place in a figure: its square is no number


def drawable(values):
    return np.abs(values) < CEILING


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
        return [name for name in self.columns if name not in (*MEASURED, CHOOSING)]

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


def read_text(path):
    """A text of UTF-8 or UTF-16, as spreadsheets save it, with or without a byte order mark."""
    content = Path(path).read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise FigureError(f"{path} is no text of UTF-8 or UTF-16") from None


def read_object(path):
    """What a file of JSON holds, an object."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise FigureError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FigureError(f"{path} is no object of JSON")
    return found


def read_config(folder):
    """config.toml; empty when there is none, or no reader of TOML, which came with Python 3.11."""
    path = Path(folder) / "config.toml"
    try:
        import tomllib
    except ImportError:
        return {}
    try:
        return tomllib.loads(read_text(path)) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise FigureError(f"{path} is not TOML: {error}") from None


def read_summary(folder):
    """summary.json, of which the figures use what SUMMARY names; empty when there is none."""
    path = Path(folder) / "summary.json"
    if not path.is_file():
        return {}
    found = read_object(path)
    for key, (fits, words) in SUMMARY.items():
        if not _fits_all(found.get(key, []), fits):
            raise FigureError(f"{path}: {key} is no list of {words}")
    for model in found.get("models", []):
        rate = model.get("best_rate")
        if rate is not None and not (_is_real(rate) and rate > 0):
            raise FigureError(f"{path}: the best_rate of a model is no number above 0")
    if not isinstance(found.get("best_by", ""), str):
        raise FigureError(f"{path}: best_by is no text")
    return found


def _fits_all(values, fits):
    return isinstance(values, list) and all(map(fits, values))


def _is_object(value):
    return isinstance(value, dict)


def _is_text(value):
    return isinstance(value, str)


def _is_real(value):
    return isinstance(value, (int, float)) and abs(value) < CEILING


SUMMARY = {
    "models": (_is_object, "objects"),
    "picture_rows": (_is_text, "texts"),
    "target": (_is_real, "numbers"),
}


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
        rows = csv.reader(io.StringIO(read_text(path), newline=""))
        try:
            self.read_rows(path, rows)
        except csv.Error as error:
            raise FigureError(f"{path}:{rows.line_num}: {error}") from None

    def read_rows(self, path, rows):
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
            self.step.append(_step(row[place["step"]], where))
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


def _step(text, where):
    """NaN of what is measured once a run."""
    step = _number(text, "step", where)
    if text and not math.isfinite(step):
        raise FigureError(f"{where}: step '{text}' is no whole number")
    return step


def _number(text, column, where):
    try:
        return float(text) if text else np.nan
    except ValueError:
        raise FigureError(f"{where}: {column} '{text}' is not a number") from None
