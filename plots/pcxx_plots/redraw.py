"""Draws the figure of a run again in a style of one's own. --set takes width, height, font, dpi, legend,
note (true or false), colour.MODEL, marker.NAME, dash.NAME, label.NAME, and any parameter of matplotlib."""

import argparse
from pathlib import Path

from . import api, style
from .records import FigureError


def parse_size(text):
    try:
        width, height = (float(part) for part in text.split("x"))
    except ValueError:
        raise FigureError(f"--size is WIDTHxHEIGHT in inches, such as 3.3x2.5, not '{text}'") from None
    return width, height


def parse_settings(assignments):
    settings = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise FigureError(f"--set takes key=value, not '{text}'")
        settings[key] = value
    return settings


def picture(arguments):
    """The path of --out, or of its default."""
    if arguments.out is None:
        return Path(arguments.run[0]) / f"redrawn.{arguments.format or 'png'}"
    out = Path(arguments.out)
    if not arguments.format or out.suffix == f".{arguments.format}":
        return out
    if out.suffix:
        raise FigureError(f"--out {out} is no {arguments.format}, as --format asks")
    return out.with_suffix(f".{arguments.format}")


def redraw(arguments):
    size = parse_size(arguments.size) if arguments.size else None
    run = arguments.run[0] if len(arguments.run) == 1 else arguments.run
    settings = parse_settings(arguments.set)
    out = picture(arguments)
    of, ours = arguments.figure, arguments.ours
    api.save(run, out, arguments.style, size, arguments.font, settings, of, ours)
    print(out)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="+", help="run folder; several of one program in one figure")
    parser.add_argument("--out", help="picture: .png, .pdf or .svg (default RUN/redrawn.png)")
    parser.add_argument("--format", choices=[suffix[1:] for suffix in style.FORMATS])
    parser.add_argument("--style", help="a matplotlib style: a .mplstyle file, or the name of one")
    parser.add_argument("--size", metavar="WxH", help="inches")
    parser.add_argument("--font", metavar="POINTS", help="of most text; the rest follows")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    parser.add_argument("--figure", metavar="ID", help="of a reproduction, such as 4")
    parser.add_argument("--ours", action="store_true", help="there, with the models that are not the paper's")
    arguments = parser.parse_args(argv)
    return style.attempt(parser.prog, lambda: redraw(arguments))
