"""What a network makes of a few images: their pictures, the prediction, and the prediction errors of every hidden
layer at the equilibrium, beside how far each layer is moved by the target."""

import json
import math
from pathlib import Path

import numpy as np

from . import records, style

MOST_IMAGES = 6
MOST_LAYERS = 5  # with a map each
ROW = 0.95  # inches
NUMBERS = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "u1"}


def read_tensors(path):
    """The tensors of a safetensors file, by name."""
    data = Path(path).read_bytes()
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            numbers = np.frombuffer(data[8 + length + begin : 8 + length + end], NUMBERS[entry["dtype"]])
            tensors[name] = numbers.reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise records.FigureError(f"{path} is no safetensors file: {error}") from None
    return tensors


def hidden_layers(tensors):
    """Their numbers; those in the middle are left out where there are too many."""
    last = sum(name.endswith(".error") for name in tensors)
    layers = list(range(1, last))
    if len(layers) <= MOST_LAYERS:
        return layers
    return [layers[round(i)] for i in np.linspace(0, len(layers) - 1, MOST_LAYERS)]


def as_map(values):
    """A row of numbers as a picture that is about square; what is left over is empty."""
    side = math.isqrt(len(values))
    columns = side if side * side == len(values) else math.ceil(math.sqrt(len(values)))
    picture = np.full(-(-len(values) // columns) * columns, np.nan)
    picture[: len(values)] = values
    return picture.reshape(-1, columns)


def draw_map(ax, values, bound=None):
    look = {"cmap": "gray", "vmin": 0, "vmax": 1} if bound is None else {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound}
    image = ax.imshow(as_map(values), interpolation="nearest", **look)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def draw_outputs(ax, prediction, target):
    """Bars of the prediction, with a mark at the target."""
    units = np.arange(len(prediction))
    ax.bar(units, prediction, color=style.COLOURS["pc"][1])
    ax.plot(units[target > 0.5], prediction[target > 0.5], "v", color=style.COLOURS["bp"][1], markersize=4)
    ax.axhline(0, color="0.6", linewidth=0.6)
    ax.set_xticks([])
    ax.tick_params(axis="y", labelsize="xx-small")


def draw_layers(ax, layers):
    """How far each layer is moved, and how large its errors are."""
    numbers = [layer["layer"] for layer in layers]
    ax.plot(numbers, [layer["error_rms"] for layer in layers], "o-", color=style.COLOURS["bp"][1], label="prediction error")
    ax.plot(
        numbers,
        [layer["movement"] * layer["feedforward_rms"] for layer in layers],
        "s--",
        color=style.COLOURS["pc"][0],
        label="moved by the target",
    )
    ax.set_yscale("log")
    ax.set_xlabel("layer")
    ax.set_ylabel("root mean square of a unit")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)


def draw(folders):
    folder = Path(folders[0])
    path = folder / "activities.safetensors"
    if not path.is_file():
        raise records.FigureError(f"there is no {path}")
    tensors = read_tensors(path)
    layers = hidden_layers(tensors)
    last = sum(name.endswith(".error") for name in tensors)
    count = min(MOST_IMAGES, len(tensors["input"]))
    fig = style.figure(2.4 + ROW * count)
    above, below = fig.subfigures(2, 1, height_ratios=[2.2, 0.2 + ROW * count])
    draw_layers(above.subplots(), records.read_summary(folder)["layers"])
    axes = below.subplots(count, 2 + len(layers), squeeze=False)
    bounds = [np.quantile(np.abs(tensors[f"layer{layer}.error"]), 0.99) or 1 for layer in layers]
    prediction = tensors[f"layer{last}.feedforward"]
    pictures = prediction.shape == tensors["input"].shape
    for i, row in enumerate(axes):
        draw_map(row[0], tensors["input"][i])
        row[0].set_ylabel(f"image {tensors['index'][i]}")
        if pictures:
            draw_map(row[1], prediction[i])
        else:
            draw_outputs(row[1], prediction[i], tensors["target"][i])
        for ax, layer, bound in zip(row[2:], layers, bounds):
            draw_map(ax, tensors[f"layer{layer}.error"][i], bound)
    titles = ["input", "prediction" if pictures else "prediction (v: label)"] + [f"errors, layer {layer}" for layer in layers]
    for ax, title in zip(axes[0], titles):
        ax.set_title(title)
    return fig


def main(argv=None):
    return style.run(__doc__, draw, argv=argv)
