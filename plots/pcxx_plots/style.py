"""What all figures share: the models' lines, words, axes, the legend, and the command line. It is the
one place of sizes and colours; `using` replaces them."""

import argparse
import contextlib
import math
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import is_color_like
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from .records import FigureError

WIDTH = 7.2  # inches: two columns of a paper
MOST_POINTS = 200  # of a line: more are not seen, and make large files
FORMATS = (".png", ".pdf", ".svg")
FONT = 8  # points; all other sizes of text follow it
TEXT_SIZES = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
}
PARAMETERS = {
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 6,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}

# ---- models
#
# The hue is the learning rule (warm: backpropagation; cold: predictive coding), and so is the
# marker's filling; dashes and the marker's form are the rescaling. So the lines differ to a
# colour-blind eye and in grey print as well.

OURS_NOTE = "(ours): not in the paper."
OURS = {"projection", "recursive_projection"}
PAPERS = {"none", "alpha", "decorrelation"}
NOT_PAPERS = {"adam", "collapsed"}
COLOURS = {  # plain, rescaled as in the paper, rescaled by projection
    "bp": ("#E69F00", "#D55E00", "#CC79A7"),
    "pc": ("#0072B2", "#56B4E9", "#00543D"),
    "kpc": ("#6A3D9A", "#6A3D9A", "#6A3D9A"),
    "ipc": ("#3A5FCD", "#3A5FCD", "#3A5FCD"),
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
RULES = {"bp": "BP", "pc": "PC", "kpc": "Kalman PC", "ipc": "incremental PC"}
CUSTOM_COLOURS = ("#117733", "#AA3377", "#882255", "#999933", "#4B4B8F", "#B15928", "#44AA99", "#555555")
CUSTOM_DASHES = (":", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (1.5, 1)))
CUSTOM_MARKERS = ("P", "X", "p", "h", "<", ">", "d", "8")
OTHERS = {  # rivals that are neither the paper's nor ours
    "adam": {"linestyle": ":", "marker": "x"},
    "collapsed": {"color": "black", "markeredgecolor": "black", "linestyle": ":", "marker": "*"},
}
SOLVERS = {  # of the inference: name, colour
    "lbfgs": ("L-BFGS", "#0072B2"),
    "error_descent": ("error descent", "#D55E00"),
    "state_descent": ("state descent", "#00543D"),
    "closed_form": ("closed form", "0.3"),
}


# ---- a style of one's own


@dataclass
class Chosen:
    """What `using` was given instead of the figures' own: sizes in inches, whether legend and note are
    drawn, and looks by (kind, name), such as ("colour", "pc")."""

    width: float | None = None
    height: float | None = None
    legend: bool = True
    note: bool = True
    looks: dict = field(default_factory=dict)
    customs: dict = field(default_factory=dict)  # place of each custom rule and rescaling, as they appear

    def place(self, kind, name):
        """0 for the first custom name of its kind in this figure, 1 for the second, ..."""
        of_kind = self.customs.setdefault(kind, {})
        return of_kind.setdefault(name, len(of_kind))

    def look(self, kind, name, usual):
        return self.looks.get((kind, name), usual)


chosen = Chosen()


@contextlib.contextmanager
def using(style=None, settings=None):
    """Figures that are drawn and saved inside look like this: `style` is a matplotlib style, a file
    or a name, and settings are, over it, values of

        width, height   inches                          colour.MODEL    any colour of matplotlib
        font            points, other text follows      marker.NAME     any marker of matplotlib
        dpi             of PNG                          dash.NAME       -, --, -. or :
        legend, note    whether there is one            label.NAME      words of the legend

    and of matplotlib's own parameters, such as lines.linewidth. MODEL is a rule, a rule and its
    rescaling (pc.projection) or a solver; NAME of label a rule or a rescaling, of marker and dash a
    rescaling (none for the plain rules)."""
    global chosen
    before = chosen
    with matplotlib.rc_context():
        try:
            chosen = _choose(style, settings or {})
            yield
        finally:
            chosen = before


def _choose(style, settings):
    of_style = _parameters_of(style) if style else {}
    result = Chosen()
    result.width, result.height = of_style.pop("figure.figsize", (None, None))
    matplotlib.rcParams.update(PARAMETERS | _text_sizes(of_style.get("font.size", FONT)) | of_style)
    for key, value in settings.items():
        _apply(result, key, value)
    return result


def _text_sizes(font):
    return {name: size * font / FONT for name, size in TEXT_SIZES.items()}


def _parameters_of(style):
    """The parameters that a style sets, and no others."""
    if style in plt.style.library:
        return dict(plt.style.library[style])
    try:
        for text in Path(style).read_text(encoding="utf-8").splitlines():
            key = text.partition("#")[0].partition(":")[0].strip()
            if key and key not in matplotlib.rcParams:
                raise FigureError(f"{style}: matplotlib has no parameter {key}")
        found = matplotlib.rc_params_from_file(style, fail_on_error=True, use_default_template=False)
    except ValueError as error:
        raise FigureError(f"{style}: {_one_line(error)}") from None
    return {name: value for name, value in found.items() if name != "backend"}


def _apply(result, key, value):
    kind, _, name = key.partition(".")
    if key in ("width", "height"):
        setattr(result, key, _positive(key, value))
    elif key == "font":
        matplotlib.rcParams.update(_text_sizes(_positive(key, value)))
    elif key == "dpi":
        matplotlib.rcParams["savefig.dpi"] = _positive(key, value)
    elif key in ("legend", "note"):
        setattr(result, key, _truth(key, value))
    elif kind in LOOKS and name:
        result.looks[kind, name] = _look(key, value)
    elif key in matplotlib.rcParams:
        try:
            matplotlib.rcParams[key] = value
        except ValueError as error:
            raise FigureError(f"{key}={value}: {_one_line(error)}") from None
    else:
        raise FigureError(f"there is no style key {key or repr(key)}")


def _one_line(error):
    return " ".join(str(error).split())


def _positive(key, value):
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < 1e4:
        raise FigureError(f"{key} is a positive number, not '{value}'")
    return number


def _truth(key, value):
    words = {"true": True, "false": False}
    if str(value).lower() not in words:
        raise FigureError(f"{key} is true or false, not '{value}'")
    return words[str(value).lower()]


def _look(key, value):
    """A value of colour, marker, dash or label, once both are known to exist."""
    kind, _, name = key.partition(".")
    names, fits = LOOKS[kind]
    if name not in names():
        raise FigureError(f"there is no style key {key}: {kind} is of {', '.join(names())}")
    if not fits(value):
        raise FigureError(f"{key} is no {kind} of matplotlib's: '{value}'")
    return value


def _rescalings():
    return [*DASHES, *OTHERS]


def _models():
    rules = [rule if r == "none" else f"{rule}.{r}" for rule in RULES for r in DASHES]
    return [*rules, *OTHERS, *SOLVERS]


def _is_marker(value):
    try:
        return bool(MarkerStyle(value))
    except ValueError:
        return False


LOOKS = {  # the names that a kind is of, and whether a value is one
    "colour": (_models, is_color_like),
    "marker": (_rescalings, _is_marker),
    "dash": (_rescalings, lambda value: value in ("-", "--", "-.", ":")),
    "label": (lambda: [*RULES, *DASHES, *SOLVERS], lambda value: isinstance(value, str)),
}


def points(size):
    """A size of text, written for the usual font, for the chosen one."""
    return size * matplotlib.rcParams["font.size"] / FONT


def colour_of_solver(name):
    return chosen.look("colour", name, SOLVERS.get(name, (name, "0.5"))[1])


def label_of_solver(name):
    return chosen.look("label", name, SOLVERS.get(name, (name, ""))[0])


# ---- the look of models


def parts(model):
    """Rule, rescaling and what else tells the model apart: ("bp", "none", "adam")."""
    rule, rescaling = model
    plain, _, variant = rescaling.partition("+")
    return rule, plain, variant


def family(rescaling):
    return 0 if rescaling == "none" else 2 if rescaling in OURS else 1


def is_papers(model):
    rule, rescaling, variant = parts(model)
    return rule in ("bp", "pc") and rescaling in PAPERS and variant not in NOT_PAPERS


def is_ours(model):
    rule, rescaling, variant = parts(model)
    return (rule == "kpc" or rescaling in OURS) and variant != "collapsed"


def line(model):
    """Line2D properties of a (rule, rescaling) pair."""
    rule, rescaling, variant = parts(model)
    colour = COLOURS[rule][family(rescaling)] if rule in COLOURS else _custom_colour(rule)
    ours = is_ours(model)  # lines that often coincide with the paper's: below and broader
    look = {
        "color": colour,
        "linestyle": DASHES[rescaling] if rescaling in DASHES else _custom(CUSTOM_DASHES, rescaling),
        "linewidth": (2 if ours else 1.4) * matplotlib.rcParams["lines.linewidth"] / 1.5,
        "zorder": 2 if ours else 2.5,
        "marker": _marker(rule, rescaling),
        "markersize": (4.5 if ours else 3.4) * matplotlib.rcParams["lines.markersize"] / 6,
        "markeredgewidth": 0.9,
        "markeredgecolor": colour,
        "markerfacecolor": "white" if rule == "bp" else colour,
    }
    return _as_chosen(look | OTHERS.get(variant, {}), rule, rescaling, variant)


def _custom(values, rescaling):
    return values[chosen.place("rescaling", rescaling) % len(values)]


def _custom_colour(rule):
    return CUSTOM_COLOURS[chosen.place("rule", rule) % len(CUSTOM_COLOURS)]


def _marker(rule, rescaling):
    """A rescaling's; of custom rules that share a colour a custom one each."""
    turn = 0 if rule in COLOURS else chosen.place("rule", rule) // len(CUSTOM_COLOURS)
    if turn:
        return CUSTOM_MARKERS[(turn - 1) % len(CUSTOM_MARKERS)]
    return MARKERS[rescaling] if rescaling in MARKERS else _custom(CUSTOM_MARKERS, rescaling)


def _as_chosen(look, rule, rescaling, variant):
    colour = chosen.look(
        "colour", variant or (rule if rescaling == "none" else f"{rule}.{rescaling}"), look["color"]
    )
    face = look["markerfacecolor"] if look["markerfacecolor"] == "white" else colour
    kind = variant or rescaling
    return look | {
        "color": colour,
        "markeredgecolor": colour,
        "markerfacecolor": face,
        "marker": chosen.look("marker", kind, look["marker"]),
        "linestyle": chosen.look("dash", kind, look["linestyle"]),
    }


def label(model):
    rule, rescaling, variant = parts(model)
    name = chosen.look("label", rule, RULES.get(rule, rule))
    if rescaling != "none":
        name += " + " + chosen.look("label", rescaling, rescaling.replace("_", " "))
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
    "mupc": "muPC network",
    "kaiming": "Kaiming",
    "norm_preserving": "norm-preserving",
    "lecun": "LeCun",
    "normal": "standard normal",
    "unit_orthogonal": "unit orthogonal",
    "teacher": "teacher",
    "relu_teacher": "ReLU teacher",
    "independent": "independent targets",
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
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
    return f"{low} to {count_seeds(high)}" if low < high else count_seeds(high)


def count_seeds(count):
    return f"{count} seeds" if count > 1 else "1 seed"


def seeds_by_panel(letters, counts):
    """How many seeds panels have: "10 seeds", or "10 seeds (3 in D)"."""
    panels = {}
    for letter, count in zip(letters, counts):
        panels.setdefault(count, []).append(letter)
    (most, _), *others = sorted(panels.items(), key=lambda item: -len(item[1]))
    words = [f"{count} in {', '.join(dict.fromkeys(of_count))}" for count, of_count in others]
    return count_seeds(most) + (f" ({'; '.join(words)})" if words else "")


def averages(seeds):
    """What a line and its band are."""
    return "1 seed" if seeds == "1 seed" else f"mean and one standard deviation over {seeds}"


# ---- axes


def log_axis(axis, low, high, base=10):
    """Ticks and plain numbers for a log axis that shows low..high."""
    decades = math.log(high, base) - math.log(low, base)
    if base == 10 and decades < 0.5:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif base == 10 and decades < 2.5:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.5 else (1, 3)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif base == 2:
        axis.set_major_locator(LogLocator(base=2, numticks=7))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def band(ax, x, low, high, model):
    """Between low and high, with edges that are seen beside markers; none of a single seed."""
    if np.array_equal(low, high, equal_nan=True):
        return
    colour = line(model)["color"]
    ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    for edge in (low, high):
        ax.plot(x, edge, color=colour, alpha=0.45, linewidth=0.5, zorder=1.5)


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
        fontsize=points(11),
        weight="bold",
    )


# ---- figures


def figure(height, width=WIDTH):
    size = (chosen.width or width, chosen.height or height)
    return plt.figure(figsize=size, layout="constrained")


def legend(fig, models, note, show=True, keys=()):
    """Under the panels the models, one rule below the other, then what else lines and marks are, as
    (words, look), then a few lines of explanation."""
    models = in_order(models)
    width = fig.get_figwidth()
    ours = any(map(is_ours, models))
    note = fold_note(note, ours, int(19 * width / points(1))) if chosen.note else ""
    foot = points(0.2 + 0.13 * note.count("\n")) if note else 0.05
    entries = [(label(model), line(model)) for model in models]
    blocks = [_Block(list(keys), width, 1), _Block(entries, width, 2)]
    blocks = [block for block in blocks if block.entries and show and chosen.legend]
    _make_room(fig, foot, blocks)
    height = fig.get_figheight()
    top = foot + (points(0.1) if blocks else 0)
    for block in blocks:
        _draw_block(fig, block, (top - points(0.1)) / height)
        top += block.height
    if note:
        fig.text(0.5, 0.05 / height, note, ha="center", va="bottom", fontsize=points(7), color="0.3")
    fig.get_layout_engine().set(rect=(0, top / height, 1, 1 - top / height))


@dataclass
class _Block:
    """Entries of the legend, as (words, look), in `least` rows where they fit."""

    entries: list
    width: float
    least: int

    @property
    def columns(self):
        return columns_of_legend([words for words, _ in self.entries], self.width, self.least)

    @property
    def rows(self):
        return math.ceil(len(self.entries) / self.columns)

    @property
    def height(self):
        return points(0.19) * self.rows


def _make_room(fig, foot, blocks):
    """Half of the figure is for its panels: it becomes higher, or if its height was chosen, the last
    entries of the legend are left out."""
    height = fig.get_figheight()
    wanted = foot + points(0.1) + sum(block.height for block in blocks)
    if wanted > 0.5 * height and chosen.height is None:
        fig.set_figheight(0.5 * height + wanted)
    elif wanted > 0.7 * height:
        fit = int((0.7 * height - foot) / points(0.19))
        for block in reversed(blocks):
            most = max(1, fit * block.columns)
            if len(block.entries) > most:
                left_out = len(block.entries) - most + 1
                block.entries[most - 1 :] = [(f"and {left_out} more", {"linestyle": ""})]
            fit -= block.rows


def _draw_block(fig, block, bottom):
    fig.legend(
        handles=[Line2D([], [], label=words, **look) for words, look in block.entries],
        loc="lower center",
        bbox_to_anchor=(0.5, bottom),
        ncol=block.columns,
        frameon=False,
        borderaxespad=0,
        handlelength=3.2,
        columnspacing=1.6,
    )


def fold_note(note, ours, characters):
    """Its lines, none longer than that, and that some models are ours."""
    lines = [text for line in note.split("\n") for text in textwrap.wrap(line, characters)]
    if ours and len(lines[-1]) + len(OURS_NOTE) < characters:
        lines[-1] += " " + OURS_NOTE
    elif ours:
        lines.append(OURS_NOTE)
    return "\n".join(lines)


def columns_of_legend(words, width, rows):
    """Of so many rows where they fit; otherwise as many as fit."""
    inches = [0.6 + points(0.062) * len(text) for text in words]
    columns = [max(inches[i : i + rows]) for i in range(0, len(inches), rows)]
    return len(columns) if sum(columns) < width else max(1, int(width / max(inches)))


# ---- command line


def run(description, draw, folders="+", argv=None):
    """Draws `draw(folders)` to --out. Returns the exit code: 2 for what the user can mend."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", nargs=folders, help="run folder, with metrics.csv")
    parser.add_argument("--out", help="picture: .png, .pdf or .svg (default FOLDER/figure.png)")
    arguments = parser.parse_args(argv)
    out = Path(arguments.out or Path(arguments.folder[0]) / "figure.png")
    return attempt(parser.prog, lambda: draw_to(out, lambda: draw(arguments.folder)))


def attempt(program, action):
    """Exit code of a program that does it: 2, after one sentence, for what the user can mend."""
    matplotlib.use("Agg")
    try:
        action()
    except (FigureError, OSError) as error:
        print(f"{program}: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def draw_to(out, draw, style=None, settings=None):
    """Saves the figure that `draw()` makes, whole or not at all."""
    if out.suffix not in FORMATS:
        raise FigureError(f"{out} is no picture: its name ends in none of {', '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise FigureError(f"there is no folder {out.parent}")
    with using(style, settings):
        fig = draw()
        temporary = out.with_name(f".{out.name}.tmp")
        try:
            fig.savefig(temporary, format=out.suffix[1:])
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
            plt.close(fig)
