"""How solvers of the inference converge: the energy above its minimum and the residual, after every
number of passes forward and back. Median over seeds, with the range between the quartiles."""


import numpy as np

from . import records, style

# Solvers of one kind share a hue, and their step sizes differ by dashes.
DASHES = ("-", (0, (4, 1.3)), (0, (1.5, 1.2)), (0, (5, 1.2, 1, 1.2)))
LEAST = 1e-8  # relative gaps below are rounding


def solvers(measured):
    """(solver, step size) pairs in order of appearance; a run may have varied neither."""
    both = [
        measured[c] if c in measured.columns else np.full(len(measured), default, dtype=object)
        for c, default in (("inference", "lbfgs"), ("inference_step_size", 0.0))
    ]
    return list(dict.fromkeys((name, float(step)) for name, step in zip(*both)))


def rows_of(measured, solver):
    for column, value in zip(("inference", "inference_step_size"), solver):
        if column in measured.columns:
            measured = measured.where(**{column: value})
    return measured


def label(solver):
    name, step = solver
    text = style.label_of_solver(name)
    if step > 0:
        return f"{text}, step {step:g}"
    return f"{text}, step from curvature" if name == "error_descent" else text


def draw_panel(ax, everything, metric):
    measured = everything.measured(metric)
    seen = {}
    for solver in solvers(measured):
        dash = DASHES[seen.setdefault(solver[0], 0) % len(DASHES)]
        seen[solver[0]] += 1
        passes, values = rows_of(measured, solver).over_seeds("step")
        values = np.where(records.drawable(values), np.maximum(values, LEAST), np.nan)
        with np.errstate(all="ignore"):
            low, middle, high = (quantile(values, q) for q in (0.25, 0.5, 0.75))
        line = {"color": style.colour_of_solver(solver[0]), "linestyle": dash}
        ax.fill_between(passes, low, high, color=line["color"], alpha=0.15, linewidth=0)
        ax.plot(passes, middle, label=label(solver), **line)
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    ax.set_yscale("log")
    ax.set_xlim(left=0)
    ax.set_xlabel("passes forward and back")


def quantile(values, q):
    """Over seeds; NaN where no seed has a value."""
    return np.array([np.quantile(v[np.isfinite(v)], q) if np.isfinite(v).any() else np.nan for v in values])


def draw(folders):
    everything = records.read(folders)
    fig = style.figure(3.4)
    gap, residual = fig.subplots(1, 2)
    draw_panel(gap, everything, "energy_gap")
    draw_panel(residual, everything, "residual")
    gap.set_ylabel("mean energy above the least known, relative")
    residual.set_ylabel("largest residual of a sample")
    if style.chosen.legend:
        columns = max(1, min(3, int(fig.get_figwidth() / style.points(2.3))))
        handles = gap.get_legend_handles_labels()
        fig.legend(*handles, loc="outside lower center", ncols=columns, frameon=False)
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
