"""The figures of the paper, from the folder of a reproduction: OUT/paper.json says which panels they
have and where the runs lie. Writes OUT/figures/figure<id>.png and .pdf, and prints a line for each."""

import argparse
import io
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from . import alignment, diagnostics, records, style, training, trajectory
from .records import FigureError

DPI = 150
COLOURS = 128
WIDE = 12.0  # inches: four axes or more beside each other
NARROW = 4.8  # only one
MOST_ACROSS = 4  # cells of a panel beside each other
IDEAL = {"color": "0.7", "linestyle": "--", "linewidth": 1, "zorder": 3.5}
TRAJECTORY_NOTE = "From the dot to the star, the target. Grey dashes: the straight way."


@dataclass
class Unit:
    """What has one title: one axes, or a sweep beside the training curves."""

    panel: dict
    title: list  # its parts: the panel's, the cell's
    draw: object = None  # draw(axes), a list; None where the panel was not run
    axes_count: int = 1
    kind: str = "missing"
    everything: records.Records | None = None
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
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        for figure in figures["figures"]:
            for key in ("id", "title", "panels"):
                figure[key]
            for panel in figure["panels"]:
                for key in ("id", "title", "program", "folder"):
                    panel[key]
    except ValueError as error:
        raise FigureError(f"{path} is not JSON: {error}") from None
    except (KeyError, TypeError):
        raise FigureError(f"{path} does not describe figures and their panels") from None
    return figures


def selected(figures, names):
    known = [figure["id"] for figure in figures]
    for name in names:
        if name not in known:
            raise FigureError(f"there is no figure {name} in paper.json, only {', '.join(known)}")
    return [figure for figure in figures if not names or figure["id"] in names]


def units_of(out, figure, panel):
    """A unit for every cell of the panel's experiment."""
    folder = Path(out) / panel["folder"]
    if not (folder / "metrics.csv").is_file():
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
    return make(folder, panel, several, figure.get("plot", "curves") == "curves_and_sweeps")


def title(panel, values, several):
    words = [panel["title"]] if several or not values else []
    return words + ([style.describe(values)] if values else [])


def alignment_units(folder, panel, several, _):
    everything = records.read([folder])
    axis, _, cells = alignment.cells(everything)

    def drawer(cell):
        def draw(axes):
            alignment.draw_panel(axes[0], cell, axis)
            axes[0].set_ylabel("target alignment")

        return draw

    return [
        Unit(panel, title(panel, values, several), drawer(cell), 1, "alignment", everything)
        for values, cell in cells
    ]


def training_units(folder, panel, several, sweeps):
    everything = records.read([folder])
    summary = records.read_summary(folder)
    metric = training.error_metric(everything)

    def drawer(cell):
        def draw(axes):
            draw_training(axes, cell, summary, metric)

        return draw

    return [
        Unit(
            panel,
            title(panel, values, several),
            drawer(cell),
            2 if sweeps else 1,
            "training",
            everything,
        )
        for values, cell in training.cells(everything, metric)
    ]


def draw_training(axes, cell, summary, metric):
    models = training.trained_models(cell, [summary])
    training.draw_curves(axes[0], models, metric)
    if cell["batch_size"][0] == 1:
        axes[0].set_xlabel("samples (= steps)")
    if len(axes) > 1:
        low, high = axes[0].get_ylim()
        training.draw_sweep(axes[1], models, metric)
        bottom, top = axes[1].get_ylim()
        axes[1].set_ylim(min(low, bottom), max(high, top))
        axes[1].tick_params(labelleft=False)
        axes[1].set_ylabel("")


def alignments_units(folder, panel, several, _):
    """On the batch, and beside it on held-out samples."""
    everything = records.read([folder])
    summary = records.read_summary(folder)
    metric = training.error_metric(everything)
    leave_out = (*records.MODEL, "learning_rate", "seed")

    def drawer(cell, measure):
        def draw(axes):
            diagnostics.draw_alignments(axes[0], cell, summary, metric, measure)

        return draw

    return [
        Unit(panel, title(panel, values, several), drawer(cell, measure), 1, "alignments", everything)
        for values, cell in everything.split(everything.varied(leave_out))
        for measure in diagnostics.MEASURES
    ]


def layers_units(folder, panel, several, _):
    everything = records.read([folder])
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


def trajectory_units(folder, panel, several, _):
    everything = records.read([folder])
    target = trajectory.target_of(folder)

    def draw(axes):
        trajectory.draw_paths(axes[0], everything, [target])

    return [Unit(panel, title(panel, {}, several), draw, 1, "trajectory", everything)]


# ---- where it is drawn


def arrange(panels, columns):
    """The figure as bands below each other; a band is a list of columns, a column a list of units
    below each other. Panels with many cells have bands of their own; others lie beside each other."""
    most = max(len(units) for units in panels)
    if most < columns:
        return chunks(panels, columns)
    across = columns if len(panels) == 1 else max(columns, min(most, MOST_ACROSS))
    return [[[unit] for unit in row] for units in panels for row in chunks(units, across)]


def chunks(values, size):
    return [values[i : i + size] for i in range(0, len(values), size)]


def height_of(band):
    return max(len(column) for column in band)


def add_axes(fig, bands):
    """One or two axes for every unit; a column of fewer units than its neighbours has larger ones."""
    outer = fig.add_gridspec(len(bands), 1, height_ratios=[height_of(band) for band in bands])
    split = axes_of_units(bands)
    for place, band in zip(outer, bands):
        height = height_of(band)
        grid = place.subgridspec(height, len(band) * split)
        for j, column in enumerate(band):
            for i, unit in enumerate(column):
                rows = slice(height * i // len(column), height * (i + 1) // len(column))
                add_unit(fig, grid, rows, j * split, unit, split)


def axes_of_units(bands):
    return max(unit.axes_count for band in bands for column in band for unit in column)


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
    before = {id(u): u.labels for band in bands for column in band for u in column}
    for band, following in zip(bands, bands[1:] + [[]]):
        for j, column in enumerate(band):
            beneath = following[j][0] if len(following) == len(band) else None
            left = band[j - 1] if j else []
            for i, unit in enumerate(column):
                x, y = before[id(unit)]
                below = column[i + 1] if i + 1 < len(column) else beneath
                if below and before[id(below)][0] == x:
                    unit.clear_x()
                if i < len(left) and before[id(left[i])][1] == y:
                    unit.axes[0].set_ylabel("")


def same_ranges(bands):
    """One range of alignment for the cells of a panel that stand in one band."""
    for band in bands:
        panels = {}
        for unit in (unit for column in band for unit in column if unit.kind == "alignment"):
            panels.setdefault(unit.panel["id"], []).append(unit.axes[0])
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
    if "alignment" in of_kind:
        lines.append(alignment.note([unit.everything for unit in of_kind["alignment"]]))
    if "training" in of_kind:
        seeds = style.seeds_text(*(unit.everything for unit in of_kind["training"]))
        lines.append(training.NOTE.format(seeds=seeds))
        if axes_of_units([[of_kind["training"]]]) > 1:
            lines.append(training.SWEEP_NOTE.strip())
    for kind, note in (("alignments", diagnostics.NOTE), ("layers", diagnostics.LAYERS_NOTE)):
        if kind in of_kind:
            seeds = style.seeds_text(*(unit.everything for unit in of_kind[kind]))
            lines.append(note.format(seeds=seeds))
    if "trajectory" in of_kind:
        lines.append(TRAJECTORY_NOTE)
    if profile:
        lines.append(f"Profile: {profile}.")
    return "\n".join(lines)


def draw(out, figure, profile):
    panels = [units_of(out, figure, panel) for panel in figure["panels"]]
    if not panels:
        raise FigureError(f"figure {figure['id']} of paper.json has no panels")
    units = [unit for of_panel in panels for unit in of_panel]
    bands = arrange(panels, max(1, int(figure.get("columns", 2))))
    across = max(len(band) for band in bands)
    count = across * axes_of_units(bands)
    width = WIDE if count > 3 else style.WIDTH if count > 1 else NARROW
    note = explanation(units, profile)
    fig = style.figure(height_of_figure(bands, count, note), width)
    width = fig.get_figwidth() / style.points(1)
    fig.suptitle(heading(figure, width), x=0.01, ha="left", fontsize=style.points(9.5), weight="bold")
    add_axes(fig, bands)
    for unit in units:
        draw_unit(unit)
    for band in bands:
        set_titles([unit for column in band for unit in column], int(14.5 * width / len(band)))
    set_letters(figure, panels)
    same_ranges(bands)
    tidy_labels(bands)
    for band in bands:
        fig.align_xlabels([ax for column in band for ax in column[-1].axes])
    models = [model for unit in units if unit.everything for model in unit.everything.models()]
    if models:
        style.legend(fig, models, note)
    return fig


def height_of_figure(bands, count, note):
    rows = sum(height_of(band) for band in bands)
    kinds = {unit.kind for band in bands for column in band for unit in column}
    height = 3.4 if kinds == {"trajectory"} else 2.6 if count < 3 else 2.15
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
    """Beside each panel's title: "A" for 2A in figure 2, "3D" in another; none for a panel "7"."""
    seen = set()
    for k, units in enumerate(panels):
        if beyond(figure):
            style.letter(units[0].axes[0], chr(ord("A") + k) if len(panels) > 1 else "")
            continue
        text = units[0].panel["id"].removeprefix(figure["id"]).partition("-")[0]
        while text in seen:
            text += "′"
        if text:
            seen.add(text)
            style.letter(units[0].axes[0], text)


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


def draw_all(out, names):
    description = read_description(out)
    folder = Path(out) / "figures"
    folder.mkdir(exist_ok=True)
    for figure in selected(description["figures"], names):
        with style.using():
            fig = draw(out, figure, description.get("profile", ""))
            write(fig, folder, f"figure{figure['id']}")
        print(f"figure {figure['id']}: {folder / ('figure' + figure['id'])}.png and .pdf", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="folder of a reproduction, with paper.json")
    parser.add_argument("--figure", nargs="+", default=[], help="only these, by id (default all)")
    arguments = parser.parse_args(argv)
    return style.attempt(parser.prog, lambda: draw_all(arguments.out, arguments.figure))
