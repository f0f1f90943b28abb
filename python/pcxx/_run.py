"""The programs from Python: runs with their numbers, figures and networks."""

from __future__ import annotations

import csv
import html
import importlib
import json
import os
import shutil
import sys
import tempfile
import tomllib
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import _process, _programs, _toml
from ._core import UserError

Place = str | os.PathLike[str]
Columns = dict[str, np.ndarray[Any, Any]]

PROGRAMS = tuple(name for name in _programs.PROGRAMS if name != "runs")  # which leaves no run


def run(
    program: str,
    *,
    config: Place | None = None,
    out: Place | None = None,
    load: Any = None,
    resume: bool = False,
    shard: str | None = None,
    merge: Place | Sequence[Place] = (),
    tensorboard: bool = False,
    progress: bool | None = None,
    **keys: Any,
) -> Run:
    """Runs a program and gives what it found. The numbers are those of the command line, byte for byte.

        run = pcxx.run("regression", rule=["bp", "pc"], hidden_layers=8, seeds=10,
                       learning_rate=pcxx.logspace(1e-3, 1, 10))
        run.metrics, run.summary, run.figure(), run.networks()

    program      "regression", "autoencoder", "classifier", "alignment", "inference", "activities", "trajectory" or
                 "reproduce"
    config       a TOML file, or the name of one that is installed, such as "fig4b_regression_1"
    out          folder of the results; without, one that goes with the object
    load         weights to start from: a file, a network, or what `networks` gives
    resume       goes on with the run in `out`
    shard        "0/2": every second job, from number 0 on
    merge        folders of shards, whose results are put together
    tensorboard  leaves event files too
    progress     whether to show it; without, where there is a terminal or a notebook

    All others are keys of the config, as `--set` takes them: numbers, texts, lists, arrays, `logspace`, and for
    `models` and `layers` a list of dicts. Of "reproduce" they are its options too: figure="4B", profile="quick".

    Throws UserError for what the program refuses, with its sentence; RuntimeError where it fails; KeyboardInterrupt
    after Ctrl-C, when the program has ended: with `out` a later call with resume=True goes on."""
    program = program.removeprefix("pcxx-")
    if program not in PROGRAMS:
        raise UserError(f"there is no program '{program}' to run: there are {', '.join(PROGRAMS)}")
    temporary = _Temporary() if out is None else None
    folder = temporary.path / "run" if temporary else Path(out or "")
    with tempfile.TemporaryDirectory(prefix="pcxx-") as scratch:
        words = _key_words(program, config, keys, Path(scratch))
        words += _option_words(folder, _weights(load, Path(scratch)), resume, shard, merge, tensorboard)
        outcome = _process.run(program, words, progress)
    if outcome.code != 0:
        _refuse(program, outcome, scratch)
    for message in outcome.messages:
        print(message, file=sys.stderr)
    return Run(folder, outcome.output, temporary)


def load_run(folder: Place) -> Run:
    """The run that a program has left in a folder. Throws UserError where there is none."""
    path = Path(folder)
    if not any((path / name).is_file() for name in ("environment.json", "paper.json")):
        raise UserError(f"'{path}' holds no run: it has no environment.json")
    return Run(path)


def config_path(config: Place) -> Path:
    """A config's file: the path itself, or the one of that name among those that are installed. Throws UserError."""
    path = Path(config)
    if path.is_file():
        return path
    for folder in _config_folders():
        for name in (path, path.with_name(path.name + ".toml")):
            if (folder / name).is_file():
                return folder / name
    raise UserError(f"there is no config '{path}', neither a file nor one that is installed")


def _config_folders() -> list[Path]:
    folders = [Path(__file__).parent / "share/pcxx/configs", Path(__file__).resolve().parents[2] / "configs"]
    chosen = os.environ.get("PCXX_CONFIGS")
    return [Path(chosen), *folders] if chosen else folders


# ---- the command line


def _key_words(program: str, config: Place | None, keys: Mapping[str, Any], scratch: Path) -> list[str]:
    """Tables stand in a file, for which `--set` has no words; all else is set over it."""
    words: list[str] = []
    tables = {name: one for name, one in keys.items() if _toml.is_tables(one)}
    if config is not None or tables:
        words += ["--config", str(_config(config, tables, scratch))]
    options = ("figure", "profile", "data", "device", "threads") if program == "reproduce" else ()
    if program == "reproduce" and "figure" not in keys:
        words += ["--all"]
    for name, one in keys.items():
        if name in options:
            words += [f"--{name}", ",".join(map(str, one)) if isinstance(one, (list, tuple)) else str(one)]
        elif name not in tables:
            words += ["--set", f"{name}={_toml.value(one, name)}"]
    return words


def _config(config: Place | None, tables: Mapping[str, Any], scratch: Path) -> Path:
    if config is not None and not tables:
        return config_path(config)
    base = _read_toml(config_path(config)) if config is not None else {}
    path = scratch / "config.toml"
    path.write_text(_toml.document({**base, **tables}), encoding="utf-8")
    return path


def _option_words(
    folder: Path,
    load: Path | None,
    resume: bool,
    shard: str | None,
    merge: Place | Sequence[Place],
    tensorboard: bool,
) -> list[str]:
    words = ["--out", str(folder)]
    words += ["--load", str(load)] if load is not None else []
    words += ["--resume"] if resume else []
    words += ["--shard", shard] if shard is not None else []
    words += ["--tensorboard"] if tensorboard else []
    for part in [merge] if isinstance(merge, (str, os.PathLike)) else merge:
        words += ["--merge", str(part)]
    return words


def _weights(load: Any, scratch: Path) -> Path | None:
    """The file of what to start from."""
    if load is None or isinstance(load, (str, os.PathLike)):
        return None if load is None else Path(load)
    if not hasattr(load, "save"):
        raise UserError(f"load = {load!r} is neither a file nor a network")
    path = scratch / "weights.safetensors"
    load.save(path)
    return path


def _refuse(program: str, outcome: _process.Outcome, scratch: str) -> None:
    said = [line.removeprefix(f"pcxx-{program}: ") for line in outcome.messages]
    last = said[-1].replace(f"{scratch}/", "") if said else "it said nothing"
    if outcome.code == 2:
        raise UserError(last)
    raise RuntimeError(f"pcxx-{program} ended with exit code {outcome.code}: {last}")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"'{path}' cannot be read: {error}") from None


# ---- what runs leave


class _Temporary:
    """A folder that is removed when nobody holds this object any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="pcxx-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Trained:
    """Weights that a run has kept: of one model, at its best learning rate, from one seed."""

    model: str
    learning_rate: float
    seed: int
    path: Path
    _owner: _Temporary | None = field(default=None, repr=False, compare=False)

    @property
    def network(self) -> Any:
        """As a pcxx.Network."""
        from . import load

        return load(self.path)

    def __fspath__(self) -> str:
        return str(self.path)


class Run:
    """A run folder: what a program has measured, drawn and learnt."""

    def __init__(self, folder: Path, output: str = "", owner: _Temporary | None = None) -> None:
        self.folder = folder
        self.output = output  # what the program printed
        self._owner = owner
        self._columns: Columns | None = None

    @property
    def program(self) -> str:
        """ "regression", ..."""
        return str(self.environment.get("program", "pcxx-reproduce")).removeprefix("pcxx-")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, machine, command and seconds. A reproduction has them in its panels."""
        return dict(self._json("environment.json", {}))

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json: an entry a model under "models", where there are models. Of a reproduction the verdicts on
        the paper's claims, under "verdicts"."""
        verdicts = self._json("verdicts.json", None)
        return {"verdicts": verdicts} if verdicts is not None else dict(self._json("summary.json", {}))

    @property
    def config(self) -> dict[str, Any]:
        """Every key, also those that were not set."""
        path = self.folder / "config.toml"
        return _read_toml(path) if path.is_file() else {}

    @property
    def panels(self) -> dict[str, Run]:
        """Of a reproduction: its panels by name, such as "4B", each a run."""
        folders = sorted((self.folder / "panels").glob("*/environment.json"))
        return {path.parent.name: Run(path.parent, owner=self._owner) for path in folders}

    @property
    def columns(self) -> Columns:
        """metrics.csv by column, one entry a measurement; where a column has nothing, "" or NaN. Of a reproduction
        its summary.csv."""
        if self._columns is None:
            name = "metrics.csv" if (self.folder / "metrics.csv").is_file() else "summary.csv"
            self._columns = _read_columns(self.folder / name)
        return self._columns

    @property
    def metrics(self) -> Any:
        """The columns, as a pandas.DataFrame where pandas is installed."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            return self.columns
        return pandas.DataFrame(self.columns)

    def figure(self, **style: Any) -> Any:
        """The matplotlib Figure, in the style that `pcxx.plots.figure` takes: size=(3.3, 2.5), font=7,
        settings={"colour.pc": "teal"}. Of a reproduction of several figures the one with the id `of`. Throws
        UserError where there is nothing to draw. Needs matplotlib."""
        from . import plots

        figures = self._json("paper.json", {}).get("figures", [])
        if len(figures) == 1:
            style.setdefault("of", figures[0]["id"])
        try:
            figure = plots.figure(self.folder, **style)
        except plots.FigureError as error:
            raise UserError(str(error)) from None
        if _process.in_notebook():  # which shows the value of a cell, and all that pyplot holds
            importlib.import_module("matplotlib.pyplot").close(figure)
        return figure

    def networks(self) -> list[Trained]:
        """The weights that the run has kept, in the order of the models and seeds."""
        found = []
        for model in self.summary.get("models", []):
            for name in model.get("weights", []):
                seed = int(name.rpartition("-seed")[2].partition(".")[0])
                rate = float(model["best_rate"])
                found.append(Trained(model["model"], rate, seed, self.folder / name, self._owner))
        return found

    def save(self, folder: Place) -> Run:
        """Copies the run folder, so that it stays; gives the run there. Throws UserError where the folder exists."""
        if Path(folder).exists():
            raise UserError(f"'{folder}' exists already")
        shutil.copytree(self.folder, folder)
        return Run(Path(folder), self.output)

    def __repr__(self) -> str:
        return f"<pcxx.Run of {self.program} in {self.folder}>"

    def _repr_html_(self) -> str:
        shown = ("model", "best_rate", "final_error", "final_accuracy", "diverged_runs")
        models = self.summary.get("models", [])
        names = [name for name in shown if any(name in model for model in models)]
        head = "".join(f"<th>{name}</th>" for name in names)
        rows = ("".join(f"<td>{_brief(model.get(name))}</td>" for name in names) for model in models)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<p>{self.program}: {html.escape(str(self.folder))}</p><table><tr>{head}</tr>{body}</table>"

    def _json(self, name: str, otherwise: Any) -> Any:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else otherwise


def _brief(of: Any) -> str:
    return f"{of:.3g}" if isinstance(of, float) else "" if of is None else html.escape(str(of))


def _read_columns(path: Path) -> Columns:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return {name: _column([row[i] for row in rows]) for i, name in enumerate(names)}


def _column(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Whole numbers, numbers, or texts. An empty field is NaN among numbers."""
    if any(texts):
        for kind in (np.int64, np.float64):
            try:
                return np.array([text if text or kind is np.int64 else "nan" for text in texts]).astype(kind)
            except ValueError:
                continue
    return np.array(texts, dtype=object)
