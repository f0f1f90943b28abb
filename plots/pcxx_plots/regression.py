"""Training on the linear teacher: error curves at each model's best learning rate, beside the sweep
over rates."""

import math

from . import records, style, training


def draw(folders):
    everything = records.read(folders)
    summaries = [records.read_summary(folder) for folder in folders]
    metric = training.error_metric(everything)
    tasks = [
        (values, training.trained_models(cell, summaries))
        for values, cell in training.cells(everything, metric)
    ]
    swept = any(training.has_sweep(models) for _, models in tasks)
    panels = 2 if swept else 1
    across = 1 if len(tasks) < 4 and swept else 2
    rows = math.ceil(len(tasks) / across)
    across = min(across, len(tasks))
    wide = panels * across > 2
    fig = style.figure(0.9 + (2.9 if rows == 1 else 2.3) * rows, 12 if wide else style.WIDTH)
    axes = fig.subplots(rows, across * panels, squeeze=False)
    for k, (values, models) in enumerate(tasks):
        row, column = k % rows, panels * (k // rows)
        training.draw_curves(axes[row, column], models, metric)
        axes[row, column].set_title(style.describe(values))
        if swept:
            training.draw_sweep(axes[row, column + 1], models, metric)
    for ax in axes.flat:
        ax.set_visible(ax.has_data())
    models = [model for _, models in tasks for model in models]
    note = training.note(style.seeds_text(everything), models, summaries, swept)
    style.legend(fig, everything.models(), note, keys=training.keys(models) if swept else ())
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
