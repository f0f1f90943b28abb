"""The figures of runs, from Python. With the folder that holds this one on sys.path:

    import pcxx_plots
    records = pcxx_plots.load("runs/a")            # metrics.csv as columns, numpy arrays
    fig = pcxx_plots.figure("runs/a", size=(3.3, 2.5), settings={"colour.pc": "teal"})

`load`, `figure`, `save` and FigureError, what they raise, are in api.py; `using` in style.py says what a
style and settings may be."""

import importlib
import importlib.util
import os

_PUBLIC = ("FigureError", "figure", "load", "save")


def _replace_missing_backend():
    """Jupyter names its back end to every program that it starts, and matplotlib cannot be imported where
    that is not installed."""
    kind, _, module = os.environ.get("MPLBACKEND", "").partition("://")
    if kind == "module" and importlib.util.find_spec(module.partition(".")[0]) is None:
        os.environ["MPLBACKEND"] = "Agg"


def __getattr__(name):  # so that command.py can be imported where numpy or matplotlib is missing
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.api"), name)


def __dir__():
    return [*globals(), *_PUBLIC]


_replace_missing_backend()
