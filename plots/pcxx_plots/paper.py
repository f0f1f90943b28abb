"""The figures of the paper, from the folder of a reproduction: OUT/paper.json says which panels they
have and where the runs lie. Writes OUT/figures/figure<id>.png and .pdf, and prints a line for each. The
paper's figures have the paper's models; --ours draws those that have ours as well, with ours in them, as
figure<id>-ours."""

import argparse
import io
import math
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from . import alignment, diagnostics, records, style, training, trajectory
from .records import FigureError

DPI = 150
COLOURS = 128
WIDE = 12.0  # inches: four axes or more beside each other
NARROW = 4.8  # only one
MOST_ACROSS = 5  # cells of a panel beside each other
PANEL = ("id", "title", "program", "folder")


@dataclass
class Unit:
    """What has one title: one axes, or a sweep beside the training curves."""

    panel: dict
    title: list  # its parts: the panel's, the cell's
    draw: object = None  # draw(axes), a list; None where the panel was not run
    axes_count: int = 1
    kind: str = "missing"
    everything: records.Records | None = None
    models: list = field(default_factory=list)  # what was trained
    summary: dict = field(default_factory=dict)
    square: int | None = None
    letter: str = ""
    axes: tuple = ()

    @property
    def labels(self):
        return [ax.get_xlabel() for ax in self.axes], self.axes[0].get_ylabel()

    def clear_x(self):
        for ax in self.axes:
            ax.set_xlabel("")


# ---- what there is to draw


def read_description(out):
    path = Path(out) / "paper.json"
    if not path.is_file():
        raise FigureError(f"{out} has no paper.json: is it the folder of a reproduction?")
    description = records.read_object(path)
    if not describes_figures(description):
        raise FigureError(f"{path} does not describe figures and their panels")
    return description


def describes_figures(description):
    figures = description.get("figures")
    return (
        isinstance(description.get("profile", ""), str)
        and has_objects(figures, ("id", "title"))
        and all(has_objects(figure.get("panels"), PANEL) for figure in figures)
        and all(type(figure.get("columns", 1)) is int for figure in figures)
    )


def has_objects(values, texts):
    """Whether it is a list of objects that have these texts."""
    return isinstance(values, list) and all(
        isinstance(value, dict) and all(isinstance(value.get(key), str) for key in texts)
        for value in values
    )


def selected(figures, names):
    known = [figure["id"] for figure in figures]
    for name in names:
        if name not in known:
            raise FigureError(f"there is no figure {name} in paper.json, only {', '.join(known)}")
    return [figure for figure in figures if not names or figure["id"] in names]


def units_of(out, figure, panel, ours):
    """A unit for every cell of the panel's experiment."""
    folder = Path(out) / panel["folder"]
    if not (folder / "metrics.csv").is_file():
        return [Unit(panel, [panel["title"]])]
    everything = records.read([folder])
    if not (ours or beyond(figure)):
        everything = of_the_paper(everything)
    if not len(everything):
        return [Unit(panel, [panel["title"]])]
    make = {
        "pcxx-alignment": alignment_units,
        "pcxx-regression": training_units,
        "pcxx-autoencoder": training_units,
        "pcxx-trajectory": trajectory_units,
    }.get(panel["program"])
    if make is None:
        raise FigureError(f"panel {panel['id']} is of {panel['program']}, which has no figure here")
    several = len(figure["panels"]) > 1
    make = {"alignments": alignments_units, "layers": layers_units}.get(figure.get("plot"), make)
    sweeps = figure.get("plot", "curves") == "curves_and_sweeps"
    return make(folder, everything, panel, several, sweeps)


def of_the_paper(everything):
    """The rows of its models."""
    papers = {model for model in everything.models() if style.is_papers(model)}
    models = zip(everything["rule"], everything["rescaling"])
    return everything.rows(np.array([model in papers for model in models]))


def has_ours(out, figure):
    """Whether figures of the paper have more models than the paper's."""
    folders = [Path(out) / panel["folder"] for panel in figure["panels"]]
    read = [folder for folder in folders if (folder / "metrics.csv").is_file()]
    return not beyond(figure) and any(
        not style.is_papers(model) for folder in read for model in records.read([folder]).models()
    )


def title(panel, values, several):
    words = [panel["title"]] if several or not values else []
    return words + ([style.describe(values)] if values else [])


def alignment_units(folder, everything, panel, several, _):
    axis, _, cells = alignment.cells(everything)
    square = alignment.square_width(folder)

    def drawer(cell):
        def draw(axes):
            alignment.draw_panel(axes[0], cell, axis, square)
            axes[0].set_ylabel("target alignment")

        return draw

    return [
        Unit(panel, title(panel, values, several), drawer(cell), 1, "alignment", everything, square=square)
        for values, cell in cells
    ]


def training_units(folder, everything, panel, several, sweeps):
    summary = records.read_summary(folder)
    metric = training.error_metric(everything)
    units = []
    for values, cell in training.cells(everything, metric):
        models = training.trained_models(cell, [summary])
        steps = "samples (= steps)" if cell["batch_size"][0] == 1 else "steps"
        units.append(
            Unit(
                panel,
                title(panel, values, several),
                lambda axes, models=models, steps=steps: draw_training(axes, models, metric, steps),
                2 if sweeps else 1,
                "training",
                everything,
                models,
                summary,
            )
        )
    return units


def draw_training(axes, models, metric, steps):
    training.draw_curves(axes[0], models, metric, steps)
    if len(axes) > 1:
        low, high = axes[0].get_ylim()
        training.draw_sweep(axes[1], models, metric)
        bottom, top = axes[1].get_ylim()
        axes[1].set_ylim(min(low, bottom), max(high, top))
        axes[1].tick_params(labelleft=False)
        axes[1].set_ylabel("")


def alignments_units(folder, everything, panel, several, _):
    """On the batch, and beside it on held-out samples."""
    summary = records.read_summary(folder)
    metric = training.error_metric(everything)
    leave_out = (*records.MODEL, "learning_rate", "seed")
    targets = everything["targets"][0]
    task = {"targets": targets} if targets == "relu_teacher" else {}  # other panels' titles tell theirs

    def drawer(cell, measure):
        def draw(axes):
            diagnostics.draw_alignments(axes[0], cell, summary, metric, measure)

        return draw

    return [
        Unit(panel, title(panel, task | values, several), drawer(cell, measure), 1, "alignments", everything)
        for values, cell in everything.split(everything.varied(leave_out))
        for measure in diagnostics.MEASURES
    ]


def layers_units(folder, everything, panel, several, _):
    leave_out = (*records.MODEL, "learning_rate", "seed")

    def drawer(cell, quantity):
        def draw(axes):
            diagnostics.draw_layers(axes[0], cell, quantity)

        return draw

    return [
        Unit(panel, title(panel, values, several), drawer(cell, quantity), 1, "layers", everything)
        for values, cell in everything.split(everything.varied(leave_out))
        for quantity in diagnostics.LAYERS
    ]


def trajectory_units(folder, everything, panel, several, _):
    target = trajectory.target_of(folder)

    def draw(axes):
        trajectory.draw_paths(axes[0], everything, [target])

    return [Unit(panel, title(panel, {}, several), draw, 1, "trajectory", everything)]


# ---- where it is drawn


@dataclass
class Band:
    """Columns beside each other, each a list of units below each other, in `across` places."""

    columns: list
    across: int

    @property
    def height(self):
        return max(map(len, self.columns))

    @property
    def units(self):
        return [unit for column in self.columns for unit in column]


def arrange(panels, columns):
    """The figure as bands below each other. Panels with many cells have bands of their own; others lie
    beside each other."""
    most = max(len(units) for units in panels)
    if most < columns:
        return bands_of(panels, columns)
    even = math.ceil(most / math.ceil(most / MOST_ACROSS))
    across = columns if len(panels) == 1 else max(columns, even)
    return [band for units in panels for band in bands_of([[unit] for unit in units], across)]


def bands_of(columns, across):
    """Of more columns than fit beside each other, those of the last band are no wider than the others."""
    across = min(across, len(columns))
    return [Band(row, across) for row in chunks(columns, across)]


def chunks(values, size):
    return [values[i : i + size] for i in range(0, len(values), size)]


def add_axes(fig, bands):
    """One or two axes for every unit; a column of fewer units than its neighbours has larger ones."""
    outer = fig.add_gridspec(len(bands), 1, height_ratios=[band.height for band in bands])
    split = max(unit.axes_count for band in bands for unit in band.units)
    for place, band in zip(outer, bands):
        grid = place.subgridspec(band.height, band.across * split)
        for j, column in enumerate(band.columns):
            for i, unit in enumerate(column):
                rows = slice(band.height * i // len(column), band.height * (i + 1) // len(column))
                add_unit(fig, grid, rows, j * split, unit, split)


def add_unit(fig, grid, rows, left, unit, split):
    width = split // unit.axes_count
    for k in range(unit.axes_count):
        place = grid[rows, left + k * width : left + (k + 1) * width]
        shared = unit.axes[0] if unit.axes else None
        unit.axes += (fig.add_subplot(place, sharey=shared),)


def note_missing(ax):
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_facecolor("0.96")
    ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", va="center", color="0.4")


def tidy_labels(bands):
    """Words that a neighbour says as well are left out."""
    before = {id(unit): unit.labels for band in bands for unit in band.units}
    for band, following in zip(bands, [*bands[1:], Band([], 0)]):
        for j, column in enumerate(band.columns):
            aligned = following.across == band.across and j < len(following.columns)
            beneath = following.columns[j][0] if aligned else None
            left = band.columns[j - 1] if j else []
            for i, unit in enumerate(column):
                x, y = before[id(unit)]
                below = column[i + 1] if i + 1 < len(column) else beneath
                if below and before[id(below)][0] == x:
                    unit.clear_x()
                if i < len(left) and before[id(left[i])][1] == y:
                    unit.axes[0].set_ylabel("")


def same_ranges(figure, units):
    """One range of alignment for the cells of a panel and its readings, such as 6 and 6-presynaptic; a step
    that is too long has one of its own."""
    panels = {}
    for unit in (unit for unit in units if unit.kind == "alignment"):
        alone = beyond(figure) or unit.panel["id"].endswith("-step")
        name = unit.panel["id"] if alone else unit.panel["id"].partition("-")[0]
        panels.setdefault(name, []).append(unit.axes[0])
    for axes in panels.values():
        bottom = min(ax.get_ylim()[0] for ax in axes)
        for ax in axes:
            ax.set_ylim(bottom=bottom)
            alignment.frame(ax)


# ---- figures


def explanation(units, profile):
    """The lines below the legend."""
    of_kind = {}
    for unit in units:
        of_kind.setdefault(unit.kind, []).append(unit)
    lines = []
    for kind, of_this in of_kind.items():
        if kind == "alignment":
            lines.append(alignment.note(seeds_of(of_this)))
        elif kind == "training":
            models = [model for unit in of_this for model in unit.models]
            summaries = [unit.summary for unit in of_this]
            lines.append(training.note(seeds_of(of_this), models, summaries, has_sweeps(of_this)))
        elif kind == "alignments":
            lines.append(diagnostics.NOTE.format(seeds=seeds_of(of_this)))
        elif kind == "layers":
            lines.append(f"Layers: {style.averages(seeds_of(of_this))}.")
        elif kind == "trajectory":
            lines.append(trajectory.NOTE)
    if profile:
        lines.append(f"Profile: {profile}.")
    return "\n".join(lines)


def seeds_of(units):
    counts = [len(unit.everything.distinct("seed")) for unit in units]
    return style.seeds_by_panel([unit.letter or unit.panel["id"] for unit in units], counts)


def has_sweeps(units):
    return any(unit.axes_count > 1 for unit in units)


def keys_of(units):
    """What the legend has beside the models."""
    found = []
    for unit in units:
        if unit.kind == "alignment":
            found += alignment.keys([unit.everything], unit.square)
        elif unit.kind == "training" and unit.axes_count > 1:
            found += training.keys(unit.models)
    return [key for i, key in enumerate(found) if key not in found[:i]]


def draw(out, figure, profile, ours=False):
    panels = [units_of(out, figure, panel, ours) for panel in figure["panels"]]
    if not panels:
        raise FigureError(f"figure {figure['id']} of paper.json has no panels")
    units = [unit for of_panel in panels for unit in of_panel]
    set_letters(figure, panels)
    bands = arrange(panels, max(1, figure.get("columns", 2)))
    across = max(band.across for band in bands)
    count = across * max(unit.axes_count for unit in units)
    width = WIDE if count > 3 else style.WIDTH if count > 1 else NARROW
    note = explanation(units, profile)
    fig = style.figure(height_of_figure(bands, count, note), width)
    width = fig.get_figwidth() / style.points(1)
    fig.suptitle(heading(figure, width), x=0.01, ha="left", fontsize=style.points(9.5), weight="bold")
    add_axes(fig, bands)
    for unit in units:
        draw_unit(unit)
    for of_panel in panels:
        style.letter(of_panel[0].axes[0], of_panel[0].letter)
    for band in bands:
        set_titles(band.units, int(14.5 * width / band.across))
    same_ranges(figure, units)
    tidy_labels(bands)
    for band in bands:
        fig.align_xlabels([ax for column in band.columns for ax in column[-1].axes])
    models = [model for unit in units if unit.everything for model in unit.everything.models()]
    if models:
        style.legend(fig, models, note, keys=keys_of(units))
    return fig


def height_of_figure(bands, count, note):
    rows = sum(band.height for band in bands)
    kinds = {unit.kind for band in bands for unit in band.units}
    height = 2.4 if kinds == {"trajectory"} else 2.6 if count < 3 else 2.15
    return height * rows + 1.25 + 0.13 * note.count("\n")


def beyond(figure):
    """Not one of the paper's."""
    return figure["id"].startswith("beyond")


def heading(figure, width):
    name = "Beyond the paper" if beyond(figure) else f"Figure {figure['id']}"
    return textwrap.fill(f"{name}. {figure['title']}", int(11 * width))


def draw_unit(unit):
    if unit.draw:
        unit.draw(unit.axes)
    else:
        note_missing(unit.axes[0])


def set_titles(units, characters):
    """The parts of the titles on one line, or below each other where one would be too long."""
    several = [", ".join(unit.title) for unit in units if len(unit.title) > 1]
    between = "\n" if any(len(text) > characters for text in several) else ", "
    for unit in units:
        lines = between.join(unit.title).split("\n")
        folded = [textwrap.fill(text, characters, break_on_hyphens=False) for text in lines]
        unit.axes[0].set_title("\n".join(folded), loc="left")


def set_letters(figure, panels):
    """For beside each panel's title: "A" for 2A in figure 2, "3D" in another; none for a panel "7"."""
    seen = set()
    for k, units in enumerate(panels):
        text = units[0].panel["id"].removeprefix(figure["id"]).partition("-")[0]
        if beyond(figure):
            text = chr(ord("A") + k) if len(panels) > 1 else ""
        while text and text in seen:
            text += "′"
        seen.add(text)
        for unit in units:
            unit.letter = text


# ---- command line


def write(fig, folder, name):
    """PNG in few colours, a third of the size, and PDF."""
    picture = io.BytesIO()
    fig.savefig(picture, format="png", dpi=DPI)
    page = io.BytesIO()
    fig.savefig(page, format="pdf", metadata={"CreationDate": None})
    plt.close(fig)
    small = io.BytesIO()
    Image.open(picture).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    for suffix, content in ((".png", small), (".pdf", page)):
        temporary = folder / f".{name}{suffix}.tmp"
        temporary.write_bytes(content.getvalue())
        temporary.replace(folder / f"{name}{suffix}")


def draw_all(out, names, ours):
    description = read_description(out)
    folder = Path(out) / "figures"
    folder.mkdir(exist_ok=True)
    for figure in selected(description["figures"], names):
        if ours and not has_ours(out, figure):
            continue
        name = f"figure{figure['id']}" + ("-ours" if ours else "")
        with style.using():
            write(draw(out, figure, description.get("profile", ""), ours), folder, name)
        print(f"figure {figure['id']}: {folder / name}.png and .pdf", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="folder of a reproduction, with paper.json")
    parser.add_argument("--figure", nargs="+", default=[], help="only these, by id (default all)")
    parser.add_argument("--ours", action="store_true", help="with the models that are not the paper's")
    arguments = parser.parse_args(argv)
    return style.attempt(parser.prog, lambda: draw_all(arguments.out, arguments.figure, arguments.ours))
