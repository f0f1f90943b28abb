"""What all figures share: the models' lines, words, axes, the legend, and the command line."""

import argparse
import math
import sys
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from records import FigureError

WIDTH = 7.2  # inches: two columns of a paper
MOST_POINTS = 200  # of a line: more are not seen, and make large files
FORMATS = (".png", ".pdf", ".svg")

plt.rcParams.update(
    {
        "font.size": 8,
        "axes.labelsize": 8,
        "axes.titlesize": 8.5,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 8,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "0.92",
        "grid.linewidth": 0.6,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
    }
)

# ---- models
#
# The hue is the learning rule (warm: backpropagation; cold: predictive coding), and so is the
# marker's filling; dashes and the marker's form are the rescaling. So the lines differ to a
# colour-blind eye and in grey print as well.

OURS_NOTE = "(ours): not in the paper."
OURS = {"projection", "recursive_projection"}
COLOURS = {  # plain, rescaled as in the paper, rescaled by projection
    "bp": ("#E69F00", "#D55E00", "#CC79A7"),
    "pc": ("#0072B2", "#56B4E9", "#00543D"),
}
DASHES = {
    "none": "-",
    "alpha": (0, (4, 1.3)),
    "decorrelation": (0, (4, 1.3)),
    "projection": (0, (5, 1.2, 1, 1.2)),
    "recursive_projection": (0, (5, 1.2, 1, 1.2, 1, 1.2)),
}
MARKERS = {
    "none": "o",
    "alpha": "^",
    "decorrelation": "s",
    "projection": "D",
    "recursive_projection": "v",
}
RULES = {"bp": "BP", "pc": "PC"}
OTHERS = {  # rivals that are neither the paper's nor ours
    "adam": {"color": "0.45", "markeredgecolor": "0.45", "linestyle": ":", "marker": "x"},
    "collapsed": {"color": "black", "markeredgecolor": "black", "linestyle": ":", "marker": "*"},
}


def parts(model):
    """Rule, rescaling and what else tells the model apart: ("bp", "none", "adam")."""
    rule, rescaling = model
    plain, _, variant = rescaling.partition("+")
    return rule, plain, variant


def family(rescaling):
    return 0 if rescaling == "none" else 2 if rescaling in OURS else 1


def is_ours(model):
    _, rescaling, variant = parts(model)
    return rescaling in OURS and variant != "collapsed"


def line(model):
    """Line2D properties of a (rule, rescaling) pair; grey for models that came later."""
    rule, rescaling, variant = parts(model)
    colour = COLOURS.get(rule, ("0.2", "0.4", "0.6"))[family(rescaling)]
    ours = is_ours(model)  # lines that often coincide with the paper's: below and broader
    look = {
        "color": colour,
        "linestyle": DASHES.get(rescaling, ":"),
        "linewidth": 2 if ours else 1.4,
        "zorder": 2 if ours else 2.5,
        "marker": MARKERS.get(rescaling, "P"),
        "markersize": 6 if ours else 4.5,
        "markeredgewidth": 1.1,
        "markeredgecolor": colour,
        "markerfacecolor": "white" if rule == "bp" else colour,
    }
    return look | OTHERS.get(variant, {})


def label(model):
    rule, rescaling, variant = parts(model)
    name = RULES.get(rule, rule)
    if rescaling != "none":
        name += " + " + rescaling.replace("_", " ")
    if variant == "collapsed":
        return f"{name}, whole map"
    if variant:
        name += ", " + variant.replace("adam", "Adam")
    return name + (" (ours)" if is_ours(model) else "")


def in_order(models):
    """Plain, then the paper's rescalings, then ours, then what is neither; within each,
    backpropagation first."""
    rank = {name: i for i, name in enumerate(DASHES)}
    rules = {name: i for i, name in enumerate(RULES)}

    def key(model):
        rule, rescaling, variant = parts(model)
        return (variant != "", rank.get(rescaling, len(rank)), rules.get(rule, 9), model)

    return sorted(dict.fromkeys(models), key=key)


# ---- words

NAMES = {"init": "initialisation", "dtype": "precision", "steps": "steps"}
TEXTS = {
    "dln": "deep linear network",
    "residual": "residual network",
    "relu": "ReLU network",
    "autoencoder": "autoencoder",
    "kaiming": "Kaiming",
    "norm_preserving": "norm-preserving",
    "lecun": "LeCun",
    "unit_orthogonal": "unit orthogonal",
    "teacher": "teacher",
    "relu_teacher": "ReLU teacher",
    "independent": "independent targets",
}


def name(column):
    return NAMES.get(column, column.replace("_", " "))


def describe(values):
    """A cell in words: "8 hidden layers, width 20, norm-preserving"."""
    return ", ".join(_describe(column, value) for column, value in values.items())


def _describe(column, value):
    if value in ("true", "false"):
        return name(column) if value == "true" else f"no {name(column)}"
    if isinstance(value, str):
        return TEXTS.get(value, f"{name(column)} {value}")
    if column == "hidden_layers":
        return f"{value:g} hidden layer" + ("" if value == 1 else "s")
    if column == "condition_number" and value == 0:
        return "condition number as drawn"
    return f"{name(column)} {value:g}"


def seeds_text(*parts):
    """How many seeds the records have: "10 seeds", or "3 to 10 seeds"."""
    counts = [len(part.distinct("seed")) for part in parts]
    low, high = min(counts), max(counts)
    if low < high:
        return f"{low} to {high} seeds"
    return f"{high} seeds" if high > 1 else "1 seed"


# ---- axes


def log_axis(axis, low, high, base=10):
    """Ticks and plain numbers for a log axis that shows low..high."""
    decades = math.log(high / low, base)
    if base == 10 and decades < 2.5:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1, 3)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif base == 2:
        axis.set_major_locator(LogLocator(base=2, numticks=7))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def band(ax, x, low, high, model):
    ax.fill_between(x, low, high, color=line(model)["color"], alpha=0.15, linewidth=0)


def thinned(count):
    """Which of `count` points of a line to draw: all, or MOST_POINTS of them with both ends."""
    return np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int)


def letter(ax, text):
    """A panel's letter, left of its title."""
    ax.annotate(
        text,
        (0, 1),
        xytext=(-3, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=11,
        weight="bold",
    )


# ---- figures


def figure(height, width=WIDTH):
    return plt.figure(figsize=(width, height), layout="constrained")


def legend(fig, models, note, show=True):
    """The models under the panels, one rule below the other, and a few lines of explanation."""
    models = in_order(models)
    width, height = fig.get_size_inches()
    note = fold_note(note, any(map(is_ours, models)), int(19 * width))
    foot = 0.2 + 0.13 * note.count("\n")
    fig.text(0.5, 0.05 / height, note, ha="center", va="bottom", fontsize=7, color="0.3")
    if not show:
        fig.get_layout_engine().set(rect=(0, foot / height, 1, 1 - foot / height))
        return
    columns = columns_of_legend(models, width)
    top = foot + 0.1 + 0.19 * math.ceil(len(models) / columns)
    handles = [Line2D([], [], label=label(model), **line(model)) for model in models]
    fig.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, foot / height),
        ncol=columns,
        frameon=False,
        borderaxespad=0,
        handlelength=3.2,
        columnspacing=1.6,
    )
    fig.get_layout_engine().set(rect=(0, top / height, 1, 1 - top / height))


def fold_note(note, ours, characters):
    """Its lines, none longer than that, and that some models are ours."""
    lines = [text for line in note.split("\n") for text in textwrap.wrap(line, characters)]
    if ours and len(lines[-1]) + len(OURS_NOTE) < characters:
        lines[-1] += " " + OURS_NOTE
    elif ours:
        lines.append(OURS_NOTE)
    return "\n".join(lines)


def columns_of_legend(models, width):
    """One for each rescaling where they fit."""
    longest = {}
    for model in models:
        longest[model[1]] = max(longest.get(model[1], 0), len(label(model)))
    inches = sum(0.6 + 0.062 * characters for characters in longest.values())
    return len(longest) if inches < width else min(int(width / 2.3), len(longest))


# ---- command line


def run(description, draw, folders="+", argv=None):
    """Draws `draw(folders)` to --out. Returns the exit code: 2 for what the user can mend."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", nargs=folders, help="run folder, with metrics.csv")
    parser.add_argument("--out", help="picture: .png, .pdf or .svg (default FOLDER/figure.png)")
    arguments = parser.parse_args(argv)
    out = Path(arguments.out or Path(arguments.folder[0]) / "figure.png")
    try:
        _check(out)
        fig = draw(arguments.folder)
        fig.savefig(out)
    except (FigureError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def _check(out):
    if out.suffix not in FORMATS:
        raise FigureError(f"{out} is no picture: its name ends in none of {', '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise FigureError(f"there is no folder {out.parent}")
