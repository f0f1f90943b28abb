"""Training of classifiers: test accuracy and squared test error at each model's best learning rate, the
final accuracy at every rate, and confusion matrices, which confusion.py draws alone."""


import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from . import confusion, records, style, training

ERROR = "test_error"
ACCURACY = "test_accuracy"
WRONG = "wrong_answers"  # 1 - accuracy: the logarithm tells 98 % from 99 % as well as 80 % from 90 %
FEWEST = 1e-4  # one of 10,000


def with_wrong_answers(everything):
    """The records with the accuracies as fractions of wrong answers."""
    mask = everything["metric"] == ACCURACY
    columns = dict(everything.columns)
    columns["metric"] = np.where(mask, WRONG, everything["metric"])
    columns["value"] = np.where(
        mask, np.maximum(1 - everything["value"], FEWEST), everything["value"]
    )
    return records.Records(columns)


def show_as_accuracy(ax):
    """The axis of wrong answers, upside down and in the accuracies that they leave."""
    low, high = ax.get_ylim()
    ax.invert_yaxis()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5) if high > 5 * low else range(1, 10)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda wrong, _: f"{100 * (1 - wrong):g} %"))


def draw_sweep(ax, models):
    training.draw_sweep(ax, models, WRONG)
    final = np.concatenate([model.final[np.isfinite(model.final)] for model in models])
    if len(final):
        ax.set_ylim(final.min() / 1.2, max(final.max(), 2 * final.min()) * 1.2)
    rates = np.concatenate([model.rates for model in models])
    style.log_axis(ax.xaxis, rates.min(), rates.max())
    show_as_accuracy(ax)


def draw(folders):
    everything = records.read(folders)
    everything.measured(ACCURACY)
    everything = with_wrong_answers(everything)
    summaries = [records.read_summary(folder) for folder in folders]
    tasks = training.cells(everything, WRONG)
    errors = training.cells(everything, ERROR)
    confusions = confusion.read(folders)
    heights = [2.6] * len(tasks) + [confusion.HEIGHT] * confusion.rows(confusions)
    fig = style.figure(0.9 + sum(heights))
    grid = fig.add_gridspec(len(heights), 6, height_ratios=heights)
    drawn = []
    for row, ((values, cell), (_, error_cell)) in enumerate(zip(tasks, errors)):
        accuracy, error, sweep = (fig.add_subplot(grid[row, 2 * k : 2 * k + 2]) for k in range(3))
        by_error = training.trained_models(error_cell, summaries)
        models = training.trained_models(cell, summaries)
        for model, same in zip(models, by_error):
            model.final[~np.isfinite(same.final)] = np.inf
        drawn += models
        training.draw_curves(accuracy, models, WRONG)
        training.draw_curves(error, by_error, ERROR)
        show_as_accuracy(accuracy)
        draw_sweep(sweep, models)
        accuracy.set_title(style.describe(values))
    seeds = style.seeds_text(everything)
    note = training.note(seeds, drawn, summaries, swept=True, measure="fraction of wrong answers")
    if confusions:
        confusion.draw_panels(fig, grid, len(tasks), confusions)
        note += "\n" + confusion.note(confusions)
    style.legend(fig, everything.models(), note, keys=training.keys(drawn))
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
