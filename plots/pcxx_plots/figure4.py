"""The paper's figure 4 from four run folders: target alignment over the batch size, training with 1
and 8 hidden layers, and the autoencoder's test error."""


from . import alignment, records, style, training


def draw_training(ax, folder):
    everything = records.read([folder])
    metric = training.error_metric(everything)
    tasks = training.cells(everything, metric)
    if len(tasks) > 1:
        raise records.FigureError(f"{folder} holds {len(tasks)} experiments instead of one")
    models = training.trained_models(tasks[0][1], [records.read_summary(folder)])
    training.draw_curves(ax, models, metric)
    return everything


def draw_alignment(ax, folder):
    everything = records.read([folder])
    alignment.draw_panel(ax, everything, "batch_size")
    alignment.frame(ax)
    ax.set_ylabel("target alignment")
    return everything


def title(everything):
    """What was trained, in words: "1 hidden layer, width 20, batch size 64"."""
    columns = ["hidden_layers", "width", "batch_size"]
    if everything["architecture"][0] == "autoencoder":
        columns = ["architecture", "batch_size"]
    return style.describe({column: everything.distinct(column)[0] for column in columns})


def draw(folders):
    fig = style.figure(6.2)
    axes = fig.subplots(2, 2).flat
    drawn = [draw_alignment(axes[0], folders[0])]
    axes[0].set_title("after one update")
    for ax, folder in zip(axes[1:], folders[1:]):
        drawn.append(draw_training(ax, folder))
        ax.set_title(title(drawn[-1]))
    for ax, text in zip(axes, "ABCD"):
        style.letter(ax, text)
    seeds = style.seeds_by_panel("ABCD", [len(part.distinct("seed")) for part in drawn])
    note = f"{style.averages(seeds).capitalize()}. B to D: each model at its best learning rate."
    models = [model for part in drawn for model in part.models()]
    style.legend(fig, models, note, keys=alignment.keys(drawn[:1]))
    return fig


def main(argv=None):
    return style.run(__doc__, draw, folders=4, argv=argv)
