"""Networks."""

import math
import os
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch

from . import _core, weights
from ._words import Words, word, words

_files: Any = weights  # a script without annotations

Layers = str | Sequence[Mapping[str, Any]]
_IMAGE_LAYERS = ("conv2d", "max_pool", "avg_pool", "upsample")


class Network(_core.Network):
    """A feed-forward network: parameters, and nothing of a batch.

        net = pcxx.Network([784, 128, 10], activation="relu", loss="cross_entropy", dtype=torch.float32)
        net = pcxx.Network(layers="conv2d(channels=8, stride=2, activation=relu) dense(width=10)", input=[1, 28, 28])

    The keyword arguments are keys of the programs' configs, with their values; README.md lists them.

    widths        n_0, ..., n_L
    architecture  "relu" (hidden layers with an activation), "dln" (linear), "residual" (linear), "autoencoder"
                  (a sigmoid at the output), "mupc"
    activation    of the hidden layers: "relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "identity"
    bias          whether layers have biases, which start at 0
    loss          "squared_error", "cross_entropy" or "binary_cross_entropy", of logits
    init          how weights are drawn: "kaiming" (as PyTorch does), "orthogonal", ...
    dtype         torch.float64 or torch.float32
    layers        the network layer by layer, as text or as mappings with a "kind"; then `widths` are its two ends,
                  or `input` says the first and the last layer's width the other
    input         [channels, height, width] of images, for `layers`
    seed          of the weights: the same as in the programs
    device        such as "cpu" or "cuda:0"

    Throws UserError, one sentence that names key and value.
    """

    def __init__(
        self,
        widths: Sequence[int] | None = None,
        *,
        layers: Layers | None = None,
        input: Sequence[int] | None = None,
        architecture: str | None = None,
        activation: str | None = None,
        bias: bool | None = None,
        loss: str | None = None,
        init: str | None = None,
        dtype: torch.dtype | str | None = None,
        seed: int = 0,
        device: str = "cpu",
        **keys: Any,
    ) -> None:
        if layers is not None:
            layers, widths = _between(layers, widths, input)
        elif widths is None:
            raise _core.UserError("Network needs widths, such as [784, 128, 10], or layers")
        own = words(
            widths=list(widths),
            layers=layers,
            architecture=architecture,
            activation=activation,
            bias=bias,
            loss=loss,
            init=init,
            dtype=dtype,
            **keys,
        )
        super().__init__(own, seed, str(device))

    @classmethod
    def _of_words(cls, own: Words, device: str = "cpu") -> Self:
        net = cls.__new__(cls)
        _core.Network.__init__(net, own, 0, device)
        return net

    def parameters(self) -> list[torch.Tensor]:
        """Every parameter, not a copy: what trains it trains the network."""
        return [tensor for _, tensor in self.named_parameters()]

    def state_dict(self) -> OrderedDict[str, torch.Tensor]:
        """Parameters by name, such as layer1.weight; they share the network's memory, as torch's do."""
        return OrderedDict((name, tensor.detach()) for name, tensor in self.named_parameters())

    def to(self, target: torch.dtype | str | None = None, *, dtype: torch.dtype | None = None) -> Self:
        """Casts, or moves, the network itself: to("cuda"), to(torch.float32). Make optimizers and trainers anew."""
        device = target if isinstance(target, str) else None
        self._to(dtype or (target if isinstance(target, torch.dtype) else None), device)
        return self

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights as safetensors, whole or not at all; pcxx.load and --load of the programs read them. Throws
        UserError where that cannot be."""
        self._save(os.fspath(path), {"loss": self.loss})

    # ---- copies

    def __reduce__(self) -> tuple[Any, ...]:
        weights = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        return _restored, (type(self), self._described(), weights, self.device), self.__dict__ or None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        make, arguments, own = self.__reduce__()
        copied: Self = make(*arguments)
        copied.__dict__.update(own or {})
        return copied

    def __copy__(self) -> Self:
        return self.__deepcopy__({})

    def __repr__(self) -> str:
        layers = ", ".join(layer.description or "own layer" for layer in self.layers)
        return f"Network({self.widths[0]} -> {layers}; loss={self.loss}, dtype={self.dtype}, device={self.device})"

    # ---- PyTorch

    def to_torch(self) -> torch.nn.Module:
        """A torch.nn.Module with a copy of the weights: a torch.nn.Sequential of Linear layers and activations where
        that is what it is, otherwise one of pcxx.weights. Throws UserError for layers of your own."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "network.safetensors")
            self.save(path)
            module = _read(path)
        linear = _of_linear_layers(module)
        return linear if linear is not None else module

    @classmethod
    def from_torch(
        cls, model: torch.nn.Module, *, loss: str = "squared_error", input: Sequence[int] | None = None
    ) -> Self:
        """The network of a torch.nn.Sequential of Linear, Conv2d, pooling and activations, with a copy of its weights.
        `input` is the shape of the images, such as [1, 28, 28]. Throws UserError, with its place, for a module that a
        network has not."""
        try:
            module = _files.from_sequential(model, tuple(input) if input is not None else None)
        except _files.WeightsError as error:
            raise _core.UserError(str(error)) from None
        net = cls._of_words(_words_of(module, loss))
        net.load_state_dict(module.state_dict())
        return net


def load(path: str | os.PathLike[str], device: str = "cpu") -> Network:
    """The network of a file of weights: of `net.save`, of the programs, of python/pcxx_weights.py. A file is data, and
    nothing in it is run. Throws UserError, with the path, for another or a damaged file."""
    module = _read(path)
    net = Network._of_words(_words_of(module, module.metadata.get("loss", "squared_error")), device)
    net.load_state_dict(module.state_dict())
    return net


def _read(path: str | os.PathLike[str]) -> Any:
    """The module of pcxx.weights that a file holds."""
    try:
        return _files.load(path)
    except (_files.WeightsError, OSError) as error:
        raise _core.UserError(str(error)) from None


def _of_linear_layers(module: Any) -> torch.nn.Sequential | None:
    layers: list[torch.nn.Module] = []
    for layer in module:
        if not isinstance(layer, _files.Dense) or layer.residual:
            return None
        n_out, n_in = layer.weight.shape
        linear = torch.nn.Linear(n_in, n_out, bias=layer.bias is not None, dtype=layer.weight.dtype)
        linear.load_state_dict(layer.state_dict())
        layers += [linear] if layer.activation_name == "identity" else [linear, layer.activation]
    return torch.nn.Sequential(*layers)


def _restored(kind: type[Network], own: Words, weights: Mapping[str, torch.Tensor], device: str) -> Network:
    net = kind._of_words(own, device)
    net.load_state_dict(dict(weights))
    return net


def _between(layers: Layers, widths: Sequence[int] | None, input: Sequence[int] | None) -> tuple[str, Sequence[int]]:
    """The layers as text, the first of which knows its images, and the two ends."""
    last = None if isinstance(layers, str) or not layers else layers[-1].get("width")
    if not isinstance(layers, str):
        rows = list(layers)
        if not rows:
            raise _core.UserError("layers is empty")
        if input is not None and rows[0].get("kind") in _IMAGE_LAYERS:
            rows[0] = {"input": "x".join(map(str, input)), **rows[0]}
        layers = " ".join(map(_layer, rows))
    if widths is not None:
        return layers, widths
    if input is None:
        raise _core.UserError("layers needs widths, such as [784, 10], or input, such as [1, 28, 28]")
    if last is None:
        raise _core.UserError("layers needs widths, such as [784, 10], or a last layer that is a mapping with a width")
    return layers, [math.prod(input), int(last)]


def _layer(layer: Mapping[str, Any]) -> str:
    """A layer as the key `layers` writes it: kind(layers inside it, key=value, ...)."""
    if "kind" not in layer:
        raise _core.UserError(f"layers: {dict(layer)} has no kind")
    inside = " ".join(map(_layer, layer.get("layers", ())))
    keys = [f"{key}={word(value)}" for key, value in layer.items() if key not in ("kind", "layers")]
    return f"{layer['kind']}({', '.join(filter(None, [inside, *keys]))})"


def _words_of(module: Any, loss: str) -> Words:
    """Of a module of pcxx.weights."""
    layers = module.description()
    if "members" in layers[0]:
        raise _core.UserError(f"an ensemble of {layers[0]['members']} networks is no single one")
    return words(
        widths=[layers[0]["in_features"], layers[-1]["out_features"]],
        layers=" ".join(layer.kind() for layer in module),
        loss=loss,
        dtype=next(iter(module.parameters())).dtype,
    )
