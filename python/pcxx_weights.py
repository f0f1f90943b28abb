#!/usr/bin/env python3
"""Weights of pcxx in PyTorch, and back: load(path) makes a torch.nn.Module of a file of weights,
save(network, path) writes one that --load of the programs takes, convert(old, new) makes one of a .pt
file without running what is in it. Needs torch alone."""

import argparse
import copy
import ctypes
import importlib
import json
import math
import os
import re
import struct
import sys
import zlib
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

LONGEST_HEADER = 100_000_000  # bytes, as the format's own reader has it
DIMENSIONS = 64
LARGEST = 2**63 - 1
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
PRECISIONS = (torch.float32, torch.float64)  # of weights
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}  # for rounding in sums of a thousand terms
SLOPE = 0.01  # of LeakyReLU below zero
ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": lambda: nn.LeakyReLU(SLOPE),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
ARCHIVES = "pcxx_archive"
POOLINGS = {"max_pool": nn.functional.max_pool2d, "avg_pool": nn.functional.avg_pool2d}


class WeightsError(Exception):
    """What the user can mend, in one sentence."""


# ---- the network


class Dense(nn.Module):
    """f(W x + b), or x + f(W x + b) when residual. weight [out, in] and bias [out], or with a
    leading dimension [members, ...] in an ensemble."""

    def __init__(self, in_features, out_features, activation="identity", bias=False, residual=False, members=None):
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

    def kind(self):
        return (
            f"dense(width={self.weight.shape[-2]}, activation={self.activation_name}, "
            f"bias={_word(self.bias is not None)}, residual={_word(self.residual)})"
        )

    def __repr__(self):
        return f"Dense({', '.join(f'{name}={value}' for name, value in self.description().items())})"


class Conv2d(nn.Module):
    """f(W * x + b) of flat images [B, C H W], as torch.nn.Conv2d with a square kernel: its weight
    [channels, C, kernel, kernel] and bias [channels] are those of PyTorch. `input` is (C, H, W)."""

    def __init__(self, input, channels, kernel=3, stride=1, padding=0, activation="identity", bias=False):
        super().__init__()
        self.input = tuple(input)
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.zeros(channels, self.input[0], kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.activation_name = activation
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x):
        maps = nn.functional.conv2d(x.reshape(-1, *self.input), self.weight, self.bias, self.stride, self.padding)
        return self.activation(maps.flatten(1))

    def kind(self):
        channels, _, kernel, _ = self.weight.shape
        return (
            f"conv2d(channels={channels}, kernel={kernel}, stride={self.stride}, padding={self.padding}, "
            f"activation={self.activation_name}, bias={_word(self.bias is not None)}, "
            f"input={'x'.join(map(str, self.input))})"
        )

    def output(self):
        """(C, H, W) of what it gives."""
        channels, _, kernel, _ = self.weight.shape
        return channels, *(_steps(n, kernel, self.stride, self.padding) for n in self.input[1:])

    def description(self):
        return _own(math.prod(self.input), math.prod(self.output()), self.kind())


class Pool2d(nn.Module):
    """The largest number of each window of flat images [B, C H W] ("max_pool"), or the mean ("avg_pool"),
    as torch.nn.MaxPool2d and AvgPool2d. `input` is (C, H, W). Windows lie side by side without a stride."""

    activation_name = "own"  # none can stand behind it

    def __init__(self, input, pooling="max_pool", kernel=2, stride=None):
        super().__init__()
        self.input = tuple(input)
        self.pooling = pooling
        self.kernel, self.stride = kernel, stride or kernel

    def forward(self, x):
        pool = POOLINGS[self.pooling]
        return pool(x.reshape(-1, *self.input), self.kernel, self.stride).flatten(1)

    def kind(self):
        return f"{self.pooling}(kernel={self.kernel}, stride={self.stride}, input={'x'.join(map(str, self.input))})"

    def output(self):
        """(C, H, W) of what it gives."""
        return self.input[0], *(_steps(n, self.kernel, self.stride) for n in self.input[1:])

    def description(self):
        return _own(math.prod(self.input), math.prod(self.output()), self.kind())

    def extra_repr(self):
        return self.kind()


class Upsample2d(nn.Module):
    """Every pixel of flat images [B, C H W] as factor x factor pixels, as torch.nn.Upsample with mode
    "nearest". `input` is (C, H, W)."""

    activation_name = "own"  # none can stand in it

    def __init__(self, input, factor=2):
        super().__init__()
        self.input, self.factor = tuple(input), factor

    def forward(self, x):
        images = x.reshape(-1, *self.input)
        return images.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3).flatten(1)

    def kind(self):
        return f"upsample(factor={self.factor}, input={'x'.join(map(str, self.input))})"

    def output(self):
        """(C, H, W) of what it gives."""
        return self.input[0], *(n * self.factor for n in self.input[1:])

    def description(self):
        return _own(math.prod(self.input), math.prod(self.output()), self.kind())

    def extra_repr(self):
        return self.kind()


class Activation(nn.Module):
    """f(x), number by number: a layer of its own, where no Dense or Conv2d stands before."""

    activation_name = "own"  # none can stand in it

    def __init__(self, features, function="relu"):
        super().__init__()
        self.features, self.function_name = features, function
        self.function = ACTIVATIONS[function]()

    def forward(self, x):
        return self.function(x)

    def kind(self):
        return f"activation(function={self.function_name})"

    def description(self):
        return _own(self.features, self.features, self.kind())


class Scale(nn.Module):
    """Every number times a constant."""

    activation_name = "own"  # none can stand behind it

    def __init__(self, features, factor=1):
        super().__init__()
        self.features, self.factor = features, float(factor)

    def forward(self, x):
        return self.factor * x

    def kind(self):
        return f"scale(factor={str(self.factor).removesuffix('.0')})"

    def description(self):
        return _own(self.features, self.features, self.kind())

    def extra_repr(self):
        return self.kind()


class Block(nn.Module):
    """x + f(x), or f(x) where it is not residual. f is a row of layers of this file, or a Network. They
    are called layer1, layer2, ..."""

    activation_name = "own"  # none can stand behind it

    def __init__(self, layers, residual=True):
        super().__init__()
        self.residual = residual
        for l, layer in enumerate(layers, start=1):
            self.add_module(f"layer{l}", layer)
        if not self._modules:
            raise WeightsError("a block has at least one layer")

    def forward(self, x):
        y = x
        for layer in self.children():
            y = layer(y)
        return x + y if self.residual else y

    def kind(self):
        name = "block" if self.residual else "group"
        return f"{name}({' '.join(layer.kind() for layer in self.children())})"

    def description(self):
        ends = [layer.description() for layer in self.children()]
        return _own(ends[0]["in_features"], ends[-1]["out_features"], self.kind())

    def extra_repr(self):
        return f"residual={self.residual}"


def _word(value):
    return str(value).lower()


def _own(in_features, out_features, kind):
    """What is said of a layer that is not Dense: its ends, and what it is."""
    ends = {"in_features": in_features, "out_features": out_features}
    return ends | {"activation": "own", "bias": False, "residual": False, "kind": kind}


DENSE = re.compile(r"dense\(width=(\d{1,7}), activation=(\w+), bias=(true|false), residual=(true|false)\)")
CONV2D = re.compile(
    r"conv2d\(channels=(\d{1,7}), kernel=(\d{1,7}), stride=(\d{1,7}), padding=(\d{1,7}), "
    r"activation=(\w+), bias=(true|false), input=(\d{1,7})x(\d{1,7})x(\d{1,7})\)"
)
POOL2D = re.compile(r"(max_pool|avg_pool)\(kernel=(\d{1,7}), stride=(\d{1,7}), input=(\d{1,7})x(\d{1,7})x(\d{1,7})\)")
UPSAMPLE2D = re.compile(r"upsample\(factor=(\d{1,7}), input=(\d{1,7})x(\d{1,7})x(\d{1,7})\)")
ACTIVATION = re.compile(r"activation\(function=(\w+)\)")
SCALE = re.compile(r"scale\(factor=(-?\d[\d.e+-]{0,30})\)")
BLOCK = re.compile(r"(block|group)\((.*)\)")
DEEPEST = 16  # of blocks and groups in each other


def _steps(pixels, kernel, stride, padding=0):
    return (pixels + 2 * padding - kernel) // stride + 1


def _conv2d_options(kind):
    """The arguments of Conv2d that a text stands for; nothing where it is of no such layer."""
    found = CONV2D.fullmatch(kind)
    if found is None or found[5] not in ACTIVATIONS:
        return None
    channels, kernel, stride, padding = (int(found[i]) for i in range(1, 5))
    shape = tuple(int(found[i]) for i in range(7, 10))
    if min(channels, kernel, stride, *shape) < 1 or min(shape[1:]) + 2 * padding < kernel:
        return None
    if channels * shape[0] * kernel**2 > LARGEST:
        return None
    return {
        "input": shape,
        "channels": channels,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "activation": found[5],
        "bias": found[6] == "true",
    }


def _pool2d_options(kind):
    found = POOL2D.fullmatch(kind)
    if found is None:
        return None
    kernel, stride, *shape = (int(found[i]) for i in range(2, 7))
    if min(kernel, stride, *shape) < 1 or min(shape[1:]) < kernel:
        return None
    return {"input": tuple(shape), "pooling": found[1], "kernel": kernel, "stride": stride}


def _upsample2d_options(kind):
    found = UPSAMPLE2D.fullmatch(kind)
    if found is None or min(int(number) for number in found.groups()) < 1:
        return None
    return {"input": tuple(int(found[i]) for i in range(2, 5)), "factor": int(found[1])}


def _function(kind):
    """That of an activation; nothing where the text is of another layer, or of a function that is not known."""
    found = ACTIVATION.fullmatch(kind)
    return found[1] if found and found[1] in ACTIVATIONS else None


def _factor(kind):
    """That of a layer that scales; nothing where the text is of another."""
    found = SCALE.fullmatch(kind)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def _dense_options(kind, below):
    found = DENSE.fullmatch(kind)
    if found is None or found[2] not in ACTIVATIONS or int(found[1]) < 1 or below * int(found[1]) > LARGEST:
        return None
    bias, residual = found[3] == "true", found[4] == "true"
    ends = {"in_features": below, "out_features": int(found[1])}
    return ends | {"activation": found[2], "bias": bias, "residual": residual}


def _row(text):
    """The texts of the layers in a row, which have spaces inside brackets alone."""
    texts, depth, begin = [], 0, 0
    for place, letter in enumerate(text + " "):
        depth += (letter == "(") - (letter == ")")
        if letter == " " and depth == 0:
            texts.append(text[begin:place])
            begin = place + 1
    return texts


def _of_kind(kind, below, deepest=DEEPEST):
    """The layer that a text stands for, of so many inputs; nothing where there is no such layer."""
    if options := _conv2d_options(kind):
        return Conv2d(**options) if math.prod(options["input"]) == below else None
    if options := _pool2d_options(kind):
        return Pool2d(**options) if math.prod(options["input"]) == below else None
    if options := _upsample2d_options(kind):
        return Upsample2d(**options) if math.prod(options["input"]) == below else None
    if function := _function(kind):
        return Activation(below, function)
    if options := _dense_options(kind, below):
        return Dense(**options) if not options["residual"] or options["out_features"] == below else None
    if (factor := _factor(kind)) is not None:
        return Scale(below, factor)
    found = BLOCK.fullmatch(kind)
    if found is None or deepest == 0:
        return None
    layers, given, residual = [], below, found[1] == "block"
    for text in _row(found[2]):
        layer = _of_kind(text, given, deepest - 1)
        if layer is None:
            return None
        layers.append(layer)
        given = layer.description()["out_features"]
    return Block(layers, residual) if layers and (given == below or not residual) else None


def _made(layer):
    """The module that a description stands for."""
    return _of_kind(layer["kind"], layer["in_features"]) if "kind" in layer else Dense(**layer)


def _shape_of(layer):
    """The same without numbers."""
    with torch.device("meta"):
        return _made(layer)


class Network(nn.Sequential):
    """Layers called layer1, layer2, ..., as in the file. Takes [batch, in_features]; an ensemble
    gives [members, batch, out_features]. A slice of it is a Network too."""

    def __init__(self, layers):
        layers = layers.values() if isinstance(layers, dict) else layers
        super().__init__(OrderedDict((f"layer{l}", layer) for l, layer in enumerate(layers, start=1)))

    def description(self):
        return [layer.description() for layer in self]


def load(path):
    """The network of a file of weights. `network.metadata` are the texts that lie beside them."""
    tensors, metadata = read_safetensors(path)
    layers = _described_layers(path, tensors, metadata)
    _check_tensors(path, layers, tensors)
    network = Network([_made(layer) for layer in layers])
    network.to(next(iter(tensors.values())).dtype)
    network.load_state_dict(tensors)
    if "crc32" in metadata and metadata["crc32"] != str(_checksum(network)):
        raise WeightsError(f"{path} is damaged: its weights have another checksum")
    network.metadata = metadata
    return network


def _described_layers(path, tensors, metadata):
    """The layers as the file has them; of files of older versions, from their texts."""
    if "layers" in metadata:
        try:
            layers = _json(metadata["layers"])
        except ValueError:
            layers = None
    elif "activations" in metadata:
        layers = _older_layers(tensors, metadata)
    else:
        layers = None
    if type(layers) is not list or not layers:
        raise WeightsError(f"{path} does not say of what layers its weights are")
    for layer in layers:
        if not _is_layer(layer):
            raise WeightsError(f"{path} describes a layer that is not known here: {str(layer)[:200]}")
    try:
        _check_chain(layers)
    except WeightsError as error:
        raise WeightsError(f"{path} describes no network: {error}") from None
    return layers


def _older_layers(tensors, metadata):
    names = metadata["activations"].split(",")
    residual = metadata.get("residual", "").split(",")
    layers = []
    for l, activation in enumerate(names, start=1):
        weight = tensors.get(f"layer{l}.weight")
        if weight is None or weight.dim() not in (2, 3):
            return None
        layers.append(
            {
                "in_features": weight.shape[-1],
                "out_features": weight.shape[-2],
                "activation": activation,
                "bias": f"layer{l}.bias" in tensors,
                "residual": "true" in residual[l - 1 : l],
            }
            | ({"members": weight.shape[0]} if weight.dim() == 3 else {})
        )
    return layers


def _is_layer(layer):
    """Whether Dense takes it, or it is of another kind, with the ends that its text has."""
    if type(layer) is not dict:
        return False
    if "kind" in layer:
        if type(layer["kind"]) is not str or not _is_count(layer.get("in_features")):
            return False
        made = _shape_of(layer)
        return made is not None and not isinstance(made, Dense) and layer == made.description()
    wanted = {"in_features": int, "out_features": int}
    known = wanted | {"activation": str, "bias": bool, "residual": bool, "members": int}
    if not wanted.keys() <= layer.keys() <= known.keys():
        return False
    if any(type(value) is not known[name] for name, value in layer.items()):
        return False
    sizes = [layer[name] for name in ("in_features", "out_features", "members") if name in layer]
    return layer.get("activation", "identity") in ACTIVATIONS and all(1 <= size <= LARGEST for size in sizes)


def _check_chain(layers):
    """Each layer takes what the one below gives."""
    for l, layer in enumerate(layers, start=1):
        given = layers[l - 2]["out_features"] if l > 1 else layer["in_features"]
        if layer["in_features"] != given:
            raise WeightsError(f"layer {l} takes {layer['in_features']} numbers, and the one below gives {given}")
        if layer.get("residual") and layer["in_features"] != layer["out_features"]:
            raise WeightsError(f"layer {l} is residual, and takes and gives different numbers")
        if layer.get("members") != layers[0].get("members"):
            raise WeightsError(f"layer {l} has other members than layer 1")


def _sizes(layers):
    """{name: sizes} of the weights."""
    sizes = {}
    for l, layer in enumerate(layers, start=1):
        if "kind" in layer:
            own = _shape_of(layer).named_parameters()
            sizes |= {f"layer{l}.{name}": tuple(parameter.shape) for name, parameter in own}
            continue
        lead = (layer["members"],) if "members" in layer else ()
        sizes[f"layer{l}.weight"] = (*lead, layer["out_features"], layer["in_features"])
        if layer.get("bias"):
            sizes[f"layer{l}.bias"] = (*lead, layer["out_features"])
    return sizes


def _check_tensors(path, layers, tensors):
    """Before anything is allocated for the layers."""
    wanted = _sizes(layers)
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            has, described = found.get(name, "none"), wanted.get(name, "none")
            raise WeightsError(f"{path} is damaged: {name} has the sizes {has}, described are {described}")
    dtypes = {value.dtype for value in tensors.values()}
    if not dtypes:
        raise WeightsError(f"{path} holds no weights")
    if len(dtypes) != 1:
        raise WeightsError(f"{path} mixes precisions")
    if not dtypes <= set(PRECISIONS):
        raise WeightsError(f"{path} has weights of {NAMES[dtypes.pop()]}, not of F32 or F64")
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise WeightsError(f"{path} has a {name} that is not finite")


# ---- saving


def save(network, path, metadata=None, input=None):
    """Writes a Network, or a Sequential that from_sequential takes, as a file of weights. Metadata are
    texts or numbers. `input` is the shape of the images, such as (1, 28, 28)."""
    network = network if isinstance(network, Network) else from_sequential(network, input)
    dtypes = {parameter.dtype for parameter in network.parameters()}
    if len(dtypes) != 1 or not dtypes <= set(PRECISIONS):
        raise WeightsError("the weights of a network are all float32 or all float64")
    layers = network.description()
    for layer in layers:
        if not _is_layer(layer):
            raise WeightsError(f"pcxx has no layer {layer}")
    _check_chain(layers)
    for name, value in network.state_dict().items():
        if not value.isfinite().all():
            raise WeightsError(f"{name} is not finite")
    texts = _texts(metadata or {})
    texts |= {
        "widths": ",".join(str(n) for n in [layers[0]["in_features"], *(e["out_features"] for e in layers)]),
        "activations": ",".join(entry["activation"] for entry in layers),
        "layers": json.dumps(layers, separators=(",", ":")),
        "crc32": str(_checksum(network)),
    }
    if any(entry["residual"] for entry in layers):
        texts["residual"] = ",".join(str(entry["residual"]).lower() for entry in layers)
    write_safetensors(path, network.state_dict(), texts)


def _texts(metadata):
    """With numbers as texts, as the format has no others."""
    texts = {}
    for name, value in metadata.items():
        text = str(value) if type(value) in (int, float) else value
        if not _is_text(name) or not _is_text(text):
            raise WeightsError(f"metadata are texts or numbers, not {name!r}: {value!r}")
        texts[name] = text
    return texts


def _is_text(value):
    """Of whole characters: half of a pair is none."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def from_sequential(module, input=None):
    """The Network that does what a Sequential does; its weights are copies. Of PyTorch it takes Linear,
    Conv2d, MaxPool2d, AvgPool2d, Upsample (nearest, by a whole factor) and Flatten, and the activations ReLU,
    Sigmoid, Tanh, LeakyReLU(0.01), GELU, SiLU and Identity. Dropout, which does nothing after training, is left
    out. Layers of this file stand among them where activities are flat. An activation right behind a Linear or
    Conv2d belongs to it. Elsewhere it is a layer of its own.

    Convolutions and pooling need the shape of the images below, `input=(1, 28, 28)`. Pooling right behind a
    convolution and its activation makes a group of the two, which is one layer of pcxx. Elsewhere pooling is
    a layer of its own."""
    if isinstance(module, dict):
        raise WeightsError("a state_dict does not say what its layers do: save the network itself")
    layers, image = [], _image_of(input)
    for child in _flat(module):
        image = _append(layers, child, image)
    if not layers:
        raise WeightsError("the network has no Linear layer, and no Conv2d")
    return Network(layers)


def _image_of(input):
    """(C, H, W); nothing where no shape is given."""
    if input is None:
        return None
    if not isinstance(input, (tuple, list)) or len(input) != 3 or not all(_is_count(n) and n > 0 for n in input):
        raise WeightsError(f"input is (channels, height, width) of the images, not {str(input)[:200]}")
    return tuple(input)


def _append(layers, child, image):
    """Adds what a module stands for to the layers. Returns the shape of the images that it gives."""
    if any(isinstance(child, kind) and type(child).forward is kind.forward for kind in OF_IMAGES):
        return _append_of_images(layers, child, image)
    if isinstance(child, (Dense, Conv2d, Pool2d, Upsample2d, Activation, Scale, Block, nn.Linear)):
        if image:
            raise WeightsError(f"a Flatten() is missing between images and the layer {_brief(child)}")
        layers.append(_from_linear(child) if isinstance(child, nn.Linear) else copy.deepcopy(child))
    elif _is_flatten(child):
        return None
    elif type(child) not in (nn.Identity, nn.Dropout):
        _activate(layers, child, image)
    return image


def _activate(layers, child, image):
    """Puts an activation on the last layer, or behind it."""
    name = _activation_name(child)
    below = layers[-1] if layers else None
    if below is None and image is None:
        raise WeightsError(f"nothing says how many numbers the first layer, {_brief(child)}, takes")
    if below is None or below.activation_name != "identity" or getattr(below, "residual", False):
        features = below.description()["out_features"] if below else math.prod(image)
        layers.append(Activation(features, name))
        return
    below.activation_name = name
    below.activation = ACTIVATIONS[name]()


OF_IMAGES = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.Upsample)


def _append_of_images(layers, child, image):
    name = type(child).__name__
    if image is None:
        raise WeightsError(
            f"the {name} needs images: input=(channels, height, width) says their shape, and no Flatten() stands before"
        )
    if isinstance(child, nn.Conv2d):
        layers.append(_from_conv2d(child, image))
        return layers[-1].output()
    if isinstance(child, nn.Upsample):
        layers.append(_from_upsample(child, image))
        return layers[-1].output()
    pool = _from_pool2d(child, image)
    if layers and isinstance(layers[-1], Conv2d):
        layers[-1] = Block([layers[-1], pool], residual=False)
    else:
        layers.append(pool)
    return pool.output()


def _is_flatten(module):
    """To rows of numbers."""
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)


def _flat(module):
    if not isinstance(module, nn.Sequential):
        return [module]
    return [child for part in module for child in _flat(part)]


def _from_conv2d(conv, image):
    _refuse(
        conv,
        {
            "groups": conv.groups != 1,
            "dilation": _number(conv.dilation) != 1,
            "padding by other numbers than 0": conv.padding_mode != "zeros",
            "a kernel that is no square": not _number(conv.kernel_size),
            "strides that differ or are 0": not _number(conv.stride),
            "unequal padding": _padding(conv) is None,
        },
    )
    kernel, padding = _number(conv.kernel_size), _padding(conv)
    if conv.in_channels != image[0]:
        raise WeightsError(f"images of {image[0]} channels do not fit {_brief(conv)}")
    if min(image[1:]) + 2 * padding < kernel:
        raise WeightsError(f"images of {image[1]} x {image[2]} are too small for {_brief(conv)}")
    bias = conv.bias is not None
    layer = Conv2d(image, conv.out_channels, kernel, _number(conv.stride), padding, bias=bias)
    return _with_weights_of(layer, conv)


def _from_pool2d(pool, image):
    of_maximum = isinstance(pool, nn.MaxPool2d)
    _refuse(
        pool,
        {
            "padding": _number(pool.padding) != 0,
            "ceil_mode": pool.ceil_mode,
            "a window that is no square": not _number(pool.kernel_size),
            "strides that differ or are 0": not _number(pool.stride),
            "dilation": of_maximum and _number(pool.dilation) != 1,
            "indices": of_maximum and pool.return_indices,
            "a divisor": not of_maximum and pool.divisor_override is not None,
        },
    )
    kernel, stride = _number(pool.kernel_size), _number(pool.stride)
    if min(image[1:]) < kernel:
        raise WeightsError(f"images of {image[1]} x {image[2]} are too small for {_brief(pool)}")
    return Pool2d(image, "max_pool" if of_maximum else "avg_pool", kernel, stride)


def _from_upsample(upsample, image):
    factor = _number(upsample.scale_factor)
    _refuse(
        upsample,
        {
            "a mode that is not nearest": upsample.mode != "nearest",
            "a size": upsample.size is not None,
            "a factor that is no whole number": factor is None or factor < 1 or factor != int(factor),
        },
    )
    return Upsample2d(image, int(factor))


def _refuse(module, variants):
    for what, is_so in variants.items():
        if is_so:
            raise WeightsError(f"pcxx has no {type(module).__name__} with {what}: {_brief(module)}")


def _number(value):
    """The number that both directions have; nothing where they differ."""
    both = value if isinstance(value, tuple) else (value,)
    return both[0] if len(set(both)) == 1 else None


def _padding(conv):
    """The number of zeros on each side; nothing where sides differ."""
    kernel = _number(conv.kernel_size)
    if conv.padding == "valid":
        return 0
    if conv.padding != "same":
        return _number(conv.padding)
    return kernel // 2 if kernel and kernel % 2 else None


def _from_linear(linear):
    if type(linear).forward is not nn.Linear.forward or linear.in_features < 1 or linear.out_features < 1:
        raise WeightsError(f"pcxx has no layer {_brief(linear)}")
    layer = Dense(linear.in_features, linear.out_features, bias=linear.bias is not None)
    return _with_weights_of(layer, linear)


def _with_weights_of(layer, module):
    layer.to(module.weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(module.weight)
        if module.bias is not None:
            layer.bias.copy_(module.bias)
    return layer


def _brief(module):
    return " ".join(str(module).split())[:200]


def _activation_name(module):
    for name, make in ACTIVATIONS.items():
        same = type(module) is type(make()) and getattr(module, "negative_slope", SLOPE) == SLOPE
        if same and getattr(module, "approximate", "none") == "none":
            return name
    raise WeightsError(f"pcxx has no layer {_brief(module)}")


def convert(old, new):
    """Makes a file of weights of an archive of PyTorch: of a saved network or a job of an older pcxx, or
    of a state_dict, whose Linear and Conv2d layers become layer1, layer2, ... in their order. Nothing that is in
    the archive is run. What the layers do stays unsaid, so that --load takes them where sizes fit."""
    pcxx_archive = _archives()

    try:
        if not pcxx_archive.is_archive(old):
            raise WeightsError(f"{old} is no archive of PyTorch (.pt)")
        tensors = pcxx_archive.weights_of_archive(old)
        write_safetensors(new, _as_layers(tensors), {"format": "pt"})
    except pcxx_archive.ArchiveError as error:
        raise WeightsError(f"{old} {error}") from None


def _archives():
    """The module beside this one: of scripts, or of the package pcxx."""
    return importlib.import_module(f".{ARCHIVES}" if __package__ else ARCHIVES, __package__)


def _as_layers(tensors):
    """The same by the names of pcxx."""
    pcxx_archive = _archives()

    if not tensors:
        raise pcxx_archive.ArchiveError("holds no weights")
    layers, renamed = {}, {}
    for name, tensor in tensors.items():
        if tensor.dtype not in PRECISIONS or not tensor.isfinite().all():
            raise pcxx_archive.ArchiveError(f"has a {name} that is not of finite F32 or F64")
        layer, _, member = name.rpartition(".")
        renamed[f"layer{layers.setdefault(layer, len(layers) + 1)}.{member}"] = tensor
    if all(re.fullmatch(r"layer[1-9]\d*\..+", name) for name in tensors):
        return tensors
    for name, tensor in renamed.items():
        sizes = {"weight": (2, 4), "bias": (1,)}.get(name.rpartition(".")[2], ())
        if tensor.dim() not in sizes:
            raise pcxx_archive.ArchiveError(f"has a tensor {name} that no Linear layer has, and no Conv2d")
    return renamed


# ---- the format


def read_safetensors(path):
    """({name: tensor}, {name: text}). Throws WeightsError unless the file is whole and in order; nothing
    is allocated on the word of a header that the file's length contradicts."""
    data = Path(path).read_bytes()
    if data[:4] == b"PK\x03\x04" and data[8:9] != b"{":
        raise WeightsError(f"{path} is an archive of PyTorch: --convert makes safetensors of it, without running it")
    try:
        header, numbers = _split(data)
        metadata = header.pop("__metadata__", {})
        if type(metadata) is not dict or not all(type(text) is str for text in metadata.values()):
            raise ValueError("its __metadata__ are no texts")
        entries = {name: _entry(name, value, len(numbers)) for name, value in header.items()}
        _check_places(entries, len(numbers))
        return {name: _tensor(name, entry, numbers) for name, entry in entries.items()}, metadata
    except ValueError as error:
        raise WeightsError(f"{path} is no safetensors file, or is damaged: {error}") from None


def _split(data):
    """The header as an object, and the bytes behind it."""
    if len(data) < 8:
        raise ValueError(f"it has only {len(data)} bytes")
    (length,) = struct.unpack("<Q", data[:8])
    if length > LONGEST_HEADER or length > len(data) - 8:
        raise ValueError(f"its header should have {length} bytes, and {len(data) - 8} follow")
    header = data[8 : 8 + length]
    if not header.startswith(b"{"):
        raise ValueError("its header is no JSON object")
    return _json(header.decode()), memoryview(data)[8 + length :]


def _json(text):
    """Strictly: no member twice, no NaN, no more depth than Python takes. Throws ValueError."""

    def members(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name comes twice")
        return found

    def constant(name):
        raise ValueError(f"{name} is no JSON")

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode()  # halves of pairs are no characters
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    return value


def _is_count(value):
    return type(value) is int and 0 <= value <= LARGEST


def _entry(name, value, size):
    """(dtype, shape, begin, end)."""
    value = value if type(value) is dict else {}
    dtype, shape, place = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    fits = type(dtype) is str and type(shape) is list and type(place) is list and len(place) == 2
    if not fits or not all(_is_count(number) for number in shape + place):
        raise ValueError(f"its {name} has no dtype, shape and data_offsets")
    if dtype not in DTYPES:
        raise ValueError(f"its {name} has the unknown dtype {dtype}")
    begin, end = place
    count = DTYPES[dtype].itemsize
    for extent in shape[:DIMENSIONS]:
        count = min(count * max(extent, 1), LARGEST)
    fits = len(shape) <= DIMENSIONS and begin <= end <= size and count < LARGEST
    if not fits or end - begin != (0 if 0 in shape else count):
        raise ValueError(f"its {name} has not the bytes that its shape says")
    return dtype, shape, begin, end


def _check_places(entries, size):
    """The tensors take up all of the data, each its own."""
    last = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != last:
            raise ValueError(f"its {name} {'overlaps another tensor' if begin < last else 'follows a gap'}")
        last = end
    if last != size:
        raise ValueError(f"{size - last} bytes at its end are of no tensor")


def _tensor(name, entry, numbers):
    dtype, shape, begin, end = entry
    if begin == end:
        return torch.empty(shape, dtype=DTYPES[dtype])
    data = bytearray(numbers[begin:end])
    if dtype == "BOOL" and data.translate(None, b"\0\1"):
        raise ValueError(f"its {name} has values that are neither true nor false")
    return torch.frombuffer(data, dtype=DTYPES[dtype]).reshape(shape)


def write_safetensors(path, tensors, metadata):
    header, numbers = {"__metadata__": _texts(metadata)}, bytearray()
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise WeightsError(f"safetensors have no {str(tensor.dtype).removeprefix('torch.')}")
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
    if not path.name:
        raise WeightsError(f"{path} is no name of a file")
    if not path.parent.is_dir():
        raise WeightsError(f"there is no folder {path.parent}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
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
    lead = (layers[0]["members"],) if "members" in layers[0] else ()
    sizes = given.shape[:-1] + (layers[0]["in_features"],), lead + given.shape[:-1] + (layers[-1]["out_features"],)
    for name, values, size in zip(names, (given, wanted), sizes):
        if values.dim() < 2 or values.shape != size:
            raise WeightsError(f"{path} is of another network: {name} is {list(values.shape)}, not {list(size)}")
        if values.dtype != dtype:
            raise WeightsError(f"{path} is of another network: {name} is of {NAMES[values.dtype]}")
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


def _inputs(path, wanted, dtype):
    """Of a .npy file: [batch, wanted]. Nothing is allocated on the word of its header."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, TypeError, EOFError, SyntaxError, MemoryError, OverflowError, RecursionError):
        array = None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise WeightsError(f"{path} holds no [batch, {wanted}] of numbers that are real")
    if array.ndim != 2 or array.shape[1] != wanted:
        raise WeightsError(f"{path} holds no [batch, {wanted}] of numbers, but {list(array.shape)}")
    return torch.from_numpy(array.astype(str(dtype).removeprefix("torch.")))


def compute(network, arguments):
    import numpy as np

    wanted = network.description()[0]["in_features"]
    inputs = _inputs(arguments.inputs, wanted, next(network.parameters()).dtype)
    with torch.no_grad():
        outputs = network(inputs).numpy()

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


def _one_line(error):
    """Control characters of names and values as escapes."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], str(error))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", help="file of weights: .safetensors (.pt to convert)")
    parser.add_argument("--convert", metavar="NEW.safetensors", help="make one of a .pt, which is not run")
    parser.add_argument("--check", metavar="RUN", help="compare with the outputs of pcxx in its run folder")
    parser.add_argument("--inputs", metavar="FILE.npy", help="what to give to the network; needs --outputs")
    parser.add_argument("--outputs", metavar="FILE.npy", help="where to put what it makes of them")
    parser.add_argument("--export", metavar="FILE", help="program (.pt2) or state_dict (.pt, .pth)")
    arguments = parser.parse_args(argv)
    if (arguments.inputs is None) != (arguments.outputs is None):
        parser.error("--inputs and --outputs go together")
    if arguments.convert and (arguments.check or arguments.inputs or arguments.export):
        parser.error("--convert does nothing else")
    try:
        if arguments.convert:
            convert(arguments.weights, arguments.convert)
            return 0
        network = load(arguments.weights)
        print(network)
        if arguments.inputs:
            compute(network, arguments)
        if arguments.export:
            export(network, arguments.export)
        return 0 if not arguments.check or check(network, arguments) else 1
    except (WeightsError, OSError) as error:
        print(f"{parser.prog}: {_one_line(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
