"""Training of autoencoders: test error at each model's best learning rate, the sweep over rates, and
test images with their reconstructions."""

from pathlib import Path

from matplotlib import image

from . import records, style, training

METRIC = "test_error"
PICTURE_WIDTH = 5.0  # inches


def read_png(path):
    """A grey picture as [rows, columns], 0 to 1."""
    try:
        pixels = image.imread(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise records.FigureError(f"{path} is no PNG picture: {error}") from None
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def read_picture(folder):
    """The pictures and the names of their rows; None when the run left none."""
    path = Path(folder) / "reconstructions.png"
    names = records.read_summary(folder).get("picture_rows", [])
    return (read_png(path), names) if path.is_file() and names else None


def row_label(name):
    rule, _, rescaling = name.partition(" + ")
    return name if name == "original" else style.label((rule, rescaling or "none"))


def draw_picture(ax, picture):
    pixels, names = picture
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    ax.set_anchor("E")
    pitch = pixels.shape[0] / len(names)
    for i, text in enumerate(names):
        place = (-0.015 * pixels.shape[1], (i + 0.5) * pitch - 0.5)
        # Out of the layout, or it would make as much room beside the panels above.
        ax.text(*place, row_label(text), ha="right", va="center", in_layout=False)


def draw(folders):
    everything = records.read(folders)
    summaries = [records.read_summary(folder) for folder in folders]
    tasks = [
        (values, training.trained_models(cell, summaries))
        for values, cell in training.cells(everything, METRIC)
    ]
    picture = read_picture(folders[0])
    heights = [2.6] * len(tasks)
    if picture:
        rows, columns = picture[0].shape
        heights.append(PICTURE_WIDTH * rows / columns)
    fig = style.figure(0.9 + sum(heights))
    grid = fig.add_gridspec(len(heights), 2, height_ratios=heights)
    for row, (values, models) in enumerate(tasks):
        curves, sweep = (fig.add_subplot(grid[row, column]) for column in (0, 1))
        training.draw_curves(curves, models, METRIC)
        training.draw_sweep(sweep, models, METRIC)
        curves.set_title(style.describe(values))
    if picture:
        draw_picture(fig.add_subplot(grid[-1, :]), picture)
    models = [model for _, models in tasks for model in models]
    note = training.note(style.seeds_text(everything), models, summaries, swept=True)
    style.legend(fig, everything.models(), note, keys=training.keys(models))
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
