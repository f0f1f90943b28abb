"""The figures of runs, from Python: what the package gives."""

from pathlib import Path

from . import (
    activities,
    alignment,
    autoencoder,
    classifier,
    inference,
    paper,
    records,
    regression,
    trajectory,
)
from . import style as house
from .records import FigureError

DRAW = {
    "pcxx-activities": activities.draw,
    "pcxx-alignment": alignment.draw,
    "pcxx-autoencoder": autoencoder.draw,
    "pcxx-classifier": classifier.draw,
    "pcxx-inference": inference.draw,
    "pcxx-regression": regression.draw,
    "pcxx-trajectory": trajectory.draw,
}


def load(run):
    """metrics.csv of a run folder, one entry a measurement: load(run)["value"], ["metric"], ["seed"],
    ...; `.columns` is a dict of numpy arrays, as pandas.DataFrame takes it."""
    return records.read([run])


def figure(run, style=None, size=None, font=None, settings=None, of=None, ours=False):
    """The matplotlib Figure of a run folder, or of several of one program; of a reproduction the one
    with the id `of`, of the paper's figures with the models that are not the paper's where `ours`.

    style   a matplotlib style: a file or a name       size       (width, height), inches
    font    points                                     settings   as `using` in style.py has them"""
    with house.using(style, _settings(size, font, settings)):
        fig = _draw(run, of, ours)
        fig.draw_without_rendering()  # what is made only now is still made in this style
        return fig


def save(run, out, style=None, size=None, font=None, settings=None, of=None, ours=False):
    """The same as a picture: .png, .pdf or .svg."""
    house.draw_to(Path(out), lambda: _draw(run, of, ours), style, _settings(size, font, settings))


def _settings(size, font, settings):
    result = dict(zip(("width", "height"), size)) if size else {}
    if font:
        result["font"] = font
    return result | (settings or {})


def _draw(run, of, ours):
    folders = [run] if isinstance(run, (str, Path)) else list(run)
    if (Path(folders[0]) / "paper.json").is_file():
        return _draw_of_paper(folders[0], of, ours)
    if of is not None or ours:
        wanted = f"has no figure {of}" if of is not None else "is drawn with all its models"
        raise FigureError(f"{folders[0]} is no reproduction, so it {wanted}")
    programs = {program_of(folder) for folder in folders}
    if len(programs) > 1:
        raise FigureError(f"these are runs of several programs: {', '.join(sorted(programs))}")
    return DRAW[programs.pop()](folders)


def _draw_of_paper(folder, of, ours):
    description = paper.read_description(folder)
    ids = [one["id"] for one in description["figures"]]
    if of is None:
        raise FigureError(f"{folder} is a reproduction: which figure, {', '.join(ids)}?")
    (chosen,) = paper.selected(description["figures"], [of])
    return paper.draw(folder, chosen, description.get("profile", ""), ours)


def program_of(folder):
    """The program that left a run folder, by its environment.json."""
    path = Path(folder) / "environment.json"
    if not Path(folder).is_dir():
        raise FigureError(f"there is no folder {folder}")
    program = records.read_object(path).get("program") if path.is_file() else None
    if not isinstance(program, str):
        raise FigureError(f"{folder} has no environment.json that names a program")
    if program not in DRAW:
        raise FigureError(f"{program}, which left {folder}, has no figure")
    return program
