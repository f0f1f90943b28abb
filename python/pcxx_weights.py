#!/usr/bin/env python3
"""Weights of pcxx in PyTorch, and back: load(path) makes a torch.nn.Module of a file of weights,
save(network, path) writes one that --load of the programs takes. Needs torch alone."""

import argparse
import copy
import ctypes
import json
import struct
import sys
import zlib
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

DTYPES = {"F32": torch.float32, "F64": torch.float64}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}  # for rounding in sums of a thousand terms
SLOPE = 0.01  # of LeakyReLU below zero
ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": lambda: nn.LeakyReLU(SLOPE),
}


class WeightsError(Exception):
    """What the user can mend, in one sentence."""


# ---- the network


class Dense(nn.Module):
    """f(W x + b), or x + f(W x + b) when residual. weight [out, in] and bias [out], or with a
    leading dimension [members, ...] in an ensemble."""

    def __init__(
        self, in_features, out_features, activation="identity", bias=False, residual=False, members=None
    ):
        super().__init__()
        lead = () if members is None else (members,)
        self.residual = residual
        self.members = members
        self.weight = nn.Parameter(torch.zeros(*lead, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(*lead, out_features)) if bias else None
        self.activation_name = activation
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x):
        z = x @ self.weight.mT
        if self.bias is not None:
            z = z + self.bias.unsqueeze(-2)
        a = self.activation(z)
        return x + a if self.residual else a

    def description(self):
        text = {
            "in_features": self.weight.shape[-1],
            "out_features": self.weight.shape[-2],
            "activation": self.activation_name,
            "bias": self.bias is not None,
            "residual": self.residual,
        }
        return text if self.members is None else text | {"members": self.members}

    def __repr__(self):
        return f"Dense({', '.join(f'{name}={value}' for name, value in self.description().items())})"


class Network(nn.Sequential):
    """Layers called layer1, layer2, ..., as in the file. Takes [batch, in_features]; an ensemble
    gives [members, batch, out_features]."""

    def __init__(self, layers):
        super().__init__(OrderedDict((f"layer{l}", layer) for l, layer in enumerate(layers, start=1)))

    def description(self):
        return [layer.description() for layer in self]


def load(path):
    """The network of a file of weights. `network.metadata` are the texts that lie beside them."""
    tensors, metadata = read_safetensors(path)
    network = Network([_layer(path, entry) for entry in _described_layers(path, tensors, metadata)])
    _check_names(path, network, tensors)
    network.to(next(iter(tensors.values())).dtype)
    network.load_state_dict(tensors)
    if "crc32" in metadata and metadata["crc32"] != str(_checksum(network)):
        raise WeightsError(f"{path} is damaged: its weights have another checksum")
    network.metadata = metadata
    return network


def _described_layers(path, tensors, metadata):
    """The layers as the file has them; of files of older versions, from their texts."""
    try:
        if "layers" in metadata:
            return json.loads(metadata["layers"])
        names = metadata["activations"].split(",")
        residual = metadata.get("residual", "").split(",")
        layers = []
        for l, activation in enumerate(names, start=1):
            shape = tensors[f"layer{l}.weight"].shape
            layers.append(
                {
                    "in_features": shape[-1],
                    "out_features": shape[-2],
                    "activation": activation,
                    "bias": f"layer{l}.bias" in tensors,
                    "residual": "true" in residual[l - 1 : l],
                }
                | ({"members": shape[0]} if len(shape) == 3 else {})
            )
        return layers
    except (KeyError, ValueError):
        raise WeightsError(f"{path} does not say of what layers its weights are") from None


def _layer(path, entry):
    try:
        return Dense(**entry)
    except (KeyError, TypeError, RuntimeError):
        raise WeightsError(f"{path} describes a layer that is not known here: {entry}") from None


def _check_names(path, network, tensors):
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            has, described = found.get(name, "none"), wanted.get(name, "none")
            raise WeightsError(f"{path} is damaged: {name} has the sizes {has}, described are {described}")
    if len({value.dtype for value in tensors.values()}) != 1:
        raise WeightsError(f"{path} mixes precisions")


# ---- saving


def save(network, path, metadata=None):
    """Writes a Network, or a Sequential of Linear layers each with at most one activation behind it
    (ReLU, Sigmoid, Tanh, LeakyReLU(0.01), Identity), as a file of weights."""
    network = network if isinstance(network, Network) else from_sequential(network)
    dtypes = {parameter.dtype for parameter in network.parameters()}
    if len(dtypes) != 1 or not dtypes <= set(NAMES):
        raise WeightsError("the weights of a network are all float32 or all float64")
    layers = network.description()
    texts = dict(metadata or {})
    texts |= {
        "widths": ",".join(str(n) for n in [layers[0]["in_features"], *(e["out_features"] for e in layers)]),
        "activations": ",".join(entry["activation"] for entry in layers),
        "layers": json.dumps(layers, separators=(",", ":")),
        "crc32": str(_checksum(network)),
    }
    if any(entry["residual"] for entry in layers):
        texts["residual"] = ",".join(str(entry["residual"]).lower() for entry in layers)
    write_safetensors(path, network.state_dict(), texts)


def from_sequential(module):
    """The Network that does what a Sequential does; its weights are copies."""
    layers = []
    for child in _flat(module):
        if isinstance(child, Dense):
            layers.append(copy.deepcopy(child))
        elif isinstance(child, nn.Linear):
            layers.append(_from_linear(child))
        elif isinstance(child, nn.Identity):
            continue
        elif layers and layers[-1].activation_name == "identity" and not layers[-1].residual:
            layers[-1].activation_name = _activation_name(child)
            layers[-1].activation = ACTIVATIONS[layers[-1].activation_name]()
        elif _activation_name(child):
            raise WeightsError(f"no Linear layer stands before the {type(child).__name__}")
    if not layers:
        raise WeightsError("the network has no Linear layer")
    return Network(layers)


def _flat(module):
    if not isinstance(module, nn.Sequential):
        return [module]
    return [child for part in module for child in _flat(part)]


def _from_linear(linear):
    layer = Dense(linear.in_features, linear.out_features, bias=linear.bias is not None)
    layer.to(linear.weight.dtype)
    layer.load_state_dict({name: value.detach().clone() for name, value in linear.state_dict().items()})
    return layer


def _activation_name(module):
    for name, make in ACTIVATIONS.items():
        if type(module) is type(make()) and getattr(module, "negative_slope", SLOPE) == SLOPE:
            return name
    raise WeightsError(f"pcxx has no layer {module}")


# ---- the format


def read_safetensors(path):
    """({name: tensor}, {name: text})."""
    data = Path(path).read_bytes()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        numbers = bytearray(data[8 + length :])
        return {name: _tensor(numbers, **entry) for name, entry in header.items()}, metadata
    except KeyError as error:
        raise WeightsError(f"{path} has a tensor of dtype {error.args[0]}, and pcxx writes none") from None
    except (struct.error, ValueError, TypeError, AttributeError, RuntimeError):
        raise WeightsError(f"{path} is no safetensors file, or is damaged") from None


def _tensor(numbers, dtype, shape, data_offsets):
    begin, end = data_offsets
    if not 0 <= begin < end <= len(numbers):
        raise ValueError
    return torch.frombuffer(numbers[begin:end], dtype=DTYPES[dtype]).reshape(shape)


def write_safetensors(path, tensors, metadata):
    header, numbers = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        data = _bytes(tensor)
        place = [len(numbers), len(numbers) + len(data)]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        numbers += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    _write(path, lambda file: file.write_bytes(struct.pack("<Q", len(text)) + text + numbers))


def _bytes(tensor):
    dense = tensor.detach().cpu().contiguous()
    return ctypes.string_at(dense.data_ptr(), dense.nbytes)


def _checksum(network):
    """CRC-32 of all weights in their order."""
    crc = 0
    for parameter in network.parameters():
        crc = zlib.crc32(_bytes(parameter), crc)
    return crc


def _write(path, write):
    """Whole or not at all."""
    path = Path(path)
    if not path.parent.is_dir():
        raise WeightsError(f"there is no folder {path.parent}")
    temporary = path.with_name(f".{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# ---- command line


def difference_from_run(network, weights, folder):
    """The largest difference from what pcxx made of the test images in predictions.safetensors, and
    the largest output."""
    path = Path(folder) / "predictions.safetensors"
    predictions, _ = read_safetensors(path)
    dtype = next(network.parameters()).dtype
    names = f"input.{str(dtype).removeprefix('torch.')}", f"output.{Path(weights).name}"
    for name in names:
        if name not in predictions:
            raise WeightsError(f"{path} has no {name}")
    given, wanted = (predictions[name] for name in names)
    layers = network.description()
    widths = layers[0]["in_features"], layers[-1]["out_features"]
    for name, values, width in zip(names, (given, wanted), widths):
        if values.shape[-1] != width:
            raise WeightsError(f"{path} is of another network: {name} has {values.shape[-1]} numbers, not {width}")
    with torch.no_grad():
        found = network(given)
    return float((found - wanted).abs().max()), float(wanted.abs().max())


def check(network, arguments):
    """Whether it computes what pcxx computes, up to rounding."""
    difference, largest = difference_from_run(network, arguments.weights, arguments.check)
    tolerance = TOLERANCES[next(network.parameters()).dtype]
    fits = difference <= tolerance * max(1, largest)
    word = "within" if fits else "beyond"
    print(f"largest difference from the outputs of pcxx: {difference:.3g}, {word} {tolerance:g}")
    return fits


def compute(network, arguments):
    import numpy as np

    try:
        inputs = torch.from_numpy(np.load(arguments.inputs)).to(next(network.parameters()).dtype)
        with torch.no_grad():
            outputs = network(inputs).numpy()
    except (ValueError, TypeError, RuntimeError, EOFError):
        wanted = network.description()[0]["in_features"]
        raise WeightsError(f"{arguments.inputs} holds no [batch, {wanted}] of numbers") from None

    def write(temporary):
        with open(temporary, "wb") as file:
            np.save(file, outputs)

    _write(arguments.outputs, write)


def export(network, path):
    """A program of torch.export for any batch size (.pt2), or a state_dict (.pt, .pth)."""
    suffix = Path(path).suffix
    if suffix not in (".pt2", ".pt", ".pth"):
        raise WeightsError(f"{path} ends in none of .pt2, .pt, .pth")
    if suffix != ".pt2":
        _write(path, lambda file: torch.save(network.state_dict(), file))
        return
    dtype = next(network.parameters()).dtype
    example = torch.zeros(2, network.description()[0]["in_features"], dtype=dtype)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (example,), dynamic_shapes=(batch,))
    _write(path, lambda file: torch.export.save(program, file))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", help="file of weights: .safetensors")
    parser.add_argument("--check", metavar="RUN", help="compare with the outputs of pcxx in its run folder")
    parser.add_argument("--inputs", metavar="FILE.npy", help="what to give to the network; needs --outputs")
    parser.add_argument("--outputs", metavar="FILE.npy", help="where to put what it makes of them")
    parser.add_argument("--export", metavar="FILE", help="program (.pt2) or state_dict (.pt, .pth)")
    arguments = parser.parse_args(argv)
    if (arguments.inputs is None) != (arguments.outputs is None):
        parser.error("--inputs and --outputs go together")
    try:
        network = load(arguments.weights)
        print(network)
        if arguments.inputs:
            compute(network, arguments)
        if arguments.export:
            export(network, arguments.export)
        return 0 if not arguments.check or check(network, arguments) else 1
    except (WeightsError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
