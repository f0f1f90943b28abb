#!/usr/bin/env python3
"""Compares the event files of a run folder, as the package tensorboard reads them, with its metrics.csv.
Prints how many runs, values and pictures they hold; exit code 1 where one differs."""

import csv
import io
import math
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def as_float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def belongs(row, name):
    """Whether a row of metrics.csv is of the run that is called so."""
    model, *keys = name.split(", ")
    rescaling = "" if row["rescaling"] == "none" else f" + {row['rescaling']}"
    pairs = (key.rsplit(" ", 1) for key in keys)
    return model == row["rule"] + rescaling and all(row[key] == value for key, value in pairs)


def curves_of(rows):
    curves = {}
    for row in rows:
        if row["step"]:
            point = int(row["step"]), as_float32(float(row["value"]))
            curves.setdefault(row["metric"], []).append(point)
    return {metric: sorted(points) for metric, points in curves.items()}


def same(a, b):
    return len(a) == len(b) and all(
        s == t and (x == y or (math.isnan(x) and math.isnan(y))) for (s, x), (t, y) in zip(a, b)
    )


def main():
    folder = Path(sys.argv[1])
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = values = pictures = 0
    for path in sorted((folder / "tensorboard").iterdir()):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0}).Reload()
        wanted = curves_of(row for row in rows if belongs(row, path.name))
        found = {
            tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
        }
        if wanted.keys() != found.keys():
            sys.exit(f"{path.name}: {sorted(found)} instead of {sorted(wanted)}")
        for metric, points in wanted.items():
            if not same(points, found[metric]):
                sys.exit(f"{path.name}: {metric} differs")
            values += len(points)
        for tag in events.Tags()["images"]:
            for image in events.Images(tag):
                check_picture(image)
                pictures += 1
        runs += 1
    print(runs, values, pictures)


def check_picture(image):
    from PIL import Image

    picture = Image.open(io.BytesIO(image.encoded_image_string))
    picture.load()
    if picture.size != (image.width, image.height) or picture.mode != "L":
        sys.exit(f"a picture is {picture.size}, mode {picture.mode}")


if __name__ == "__main__":
    main()
