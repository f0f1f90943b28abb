#!/usr/bin/env python3
"""Tests of python/: bad files of every kind, archives of PyTorch, and what is saved. PyTorch.Files of
tests/integration/pytorch_test.cpp runs them."""

import contextlib
import io
import json
import os
import pickle
import struct
import sys
import tempfile
import unittest
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
import pcxx_weights

DATA = struct.pack("<2f", 1.5, -2)
LAYER = {"in_features": 2, "out_features": 1}


def entry(shape=(1, 2), begin=0, end=8, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def texts(layers):
    return {"layers": layers if isinstance(layers, str) else json.dumps(layers)}


class Files(unittest.TestCase):
    """Each test has an empty current folder."""

    def setUp(self):
        self.before = os.getcwd()
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)

    def tearDown(self):
        os.chdir(self.before)
        self.folder.cleanup()

    def call(self, *words):
        """(exit code, what was said)."""
        errors, out = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(out):
            code = pcxx_weights.main([str(word) for word in words])
        return code, errors.getvalue()

    def assert_refused(self, part, *words):
        code, said = self.call(*words)
        self.assertEqual(code, 2, said)
        self.assertEqual(said.count("\n"), 1, said)
        self.assertIn(part, said)
        self.assertLess(len(said), 1000)

    def write(self, header, data=DATA, name="w"):
        header = header if isinstance(header, bytes) else json.dumps(header).encode()
        Path(name).write_bytes(struct.pack("<Q", len(header)) + header + data)
        return name

    # Oracle: the numbers that were written down.
    def test_a_file_by_hand_is_read(self):
        self.write({"__metadata__": texts([LAYER]), "layer1.weight": entry()})
        network = pcxx_weights.load("w")
        self.assertEqual(network.layer1.weight.tolist(), [[1.5, -2]])
        self.assertEqual(self.call("w")[0], 0)

    # Contract, that of lib/src/io/safetensors.h: one sentence and exit code 2.
    def test_bad_headers_are_refused(self):
        good = {"__metadata__": texts([LAYER]), "layer1.weight": entry()}
        deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        text = json.dumps(good).encode()
        twice = text[:-1] + b"," + text[1:]
        for header in (
            b"", b"[]", b"3", b"null", b" " + text, b"\n" + text, b"\xef\xbb\xbf" + text, b"\xff" + text, twice,
            deep, b"{" + b'"' + b'\\"' * 200_000, text + b"x", text.decode().encode("utf-16"), b'{"a":NaN}',
            b'{"\\ud800":{}}', b'{"a\\nb":3}', b'{"x":' + b"9" * 100_000 + b"}",
        ):  # fmt: skip
            self.assert_refused("w is no safetensors file, or is damaged", self.write(header))
        for metadata in (None, 3, [], "x", {"a": 3}, {"a": None}, {"a": {}}):
            self.assert_refused("__metadata__", self.write(good | {"__metadata__": metadata}))
        for value in (
            None, 3, [], {}, {"dtype": "F32"}, entry() | {"dtype": 8}, entry() | {"dtype": []},
            entry() | {"shape": 1}, entry() | {"shape": [True, 2]}, entry() | {"shape": [1.0, 2]},
            entry() | {"shape": [-1, -2]}, entry() | {"shape": [2**64, 2]}, entry() | {"data_offsets": [0]},
            entry() | {"data_offsets": [0, 8, 8]}, entry() | {"data_offsets": {"0": 0}},
        ):  # fmt: skip
            self.assert_refused("layer1.weight", self.write(good | {"layer1.weight": value}))
        for value in (
            entry(dtype="F8"), entry((2,), 0, 4), entry((1, 2), 8, 0), entry((1, 2), 0, 9), entry((2, 2)),
            entry((2**62, 2**62)), entry((2**62, 0), 0, 0), entry([1] * 65 + [2]),
        ):  # fmt: skip
            self.assert_refused("layer1.weight", self.write(good | {"layer1.weight": value}))
        for more in (entry((1,), 0, 4), entry((1,), 12, 16), entry((2,), 4, 12)):
            data = DATA + b"\0" * 8
            self.assert_refused("damaged", self.write(good | {"x": more}, data))
        self.assert_refused("at its end are of no tensor", self.write(good, DATA + b"\0"))
        self.assert_refused("has not the bytes", self.write(good, DATA[:-1]))
        self.assert_refused("neither true nor false", self.write({"b": entry((8,), dtype="BOOL")}))
        for size in range(40):
            self.write(good)
            Path("w").write_bytes(Path("w").read_bytes()[:size])
            self.assert_refused("w is no safetensors file", "w")
        for length in (2**63, 2**64 - 1, 100_000_001):
            Path("w").write_bytes(struct.pack("<Q", length) + text)
            self.assert_refused("header should have", "w")

    # Contract: layers are checked against the tensors before anything is made of them.
    def test_bad_layers_are_refused(self):
        good = {"layer1.weight": entry()}
        for layers in (
            "", "null", "3", "{}", "[]", "[[]]", "[3]", "[null]", "[" * 100_000, "[{}]", '[{"in_features":2}]',
            [LAYER | {"bias": 1}], [LAYER | {"residual": None}], [LAYER | {"activation": "softmax"}],
            [LAYER | {"activation": 3}], [LAYER | {"activation": []}], [LAYER | {"more": 1}],
            [LAYER | {"in_features": "2"}], [LAYER | {"in_features": True}], [LAYER | {"in_features": -2}],
            [LAYER | {"in_features": 2.0}], [LAYER | {"members": 0}], [LAYER | {"members": None}],
            [LAYER | {"in_features": 10**30}], [LAYER | {"residual": True}], [LAYER, LAYER],
            [LAYER, {"in_features": 1, "out_features": 1, "members": 2}],
        ):  # fmt: skip
            self.assert_refused("w ", self.write({"__metadata__": texts(layers)} | good))
        for layers in ([LAYER | {"in_features": 60_000, "out_features": 60_000}], [LAYER | {"bias": True}], [LAYER] + [
            {"in_features": 1, "out_features": 1}
        ]):  # fmt: skip
            self.assert_refused("has the sizes", self.write({"__metadata__": texts(layers)} | good))
        self.assert_refused("does not say", self.write(good))
        self.assert_refused("does not say", self.write({"__metadata__": {"activations": "relu"}, "x": entry()}))
        scalar = {"layer1.weight": entry((), 0, 4), "x": entry((1,), 4, 8)}
        self.assert_refused("does not say", self.write({"__metadata__": {"activations": "relu"}} | scalar))
        for number in ("nan", "inf", "-inf"):
            self.write({"__metadata__": texts([LAYER])} | good, struct.pack("<2f", 1, float(number)))
            self.assert_refused("layer1.weight that is not finite", "w")
        self.assert_refused("of I32", self.write({"__metadata__": texts([LAYER]), "layer1.weight": entry(dtype="I32")}))

    def test_what_is_saved_can_be_loaded(self):
        for metadata in ({"a": None}, {"a": True}, {"a": [1]}, {1: "a"}, {"a": "\ud800"}):
            with self.assertRaises(pcxx_weights.WeightsError):
                pcxx_weights.save(nn.Sequential(nn.Linear(2, 1)), "w", metadata)
        broken = nn.Linear(2, 1)
        broken.weight.data[0, 1] = float("nan")
        for network in (
            nn.Sequential(broken), nn.Sequential(nn.Linear(3, 2), nn.Linear(5, 2)), nn.Linear(2, 1).state_dict(),
            nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), nn.Sequential(nn.Linear(2, 1), nn.Dropout2d(0.5)),
            nn.Sequential(nn.LazyLinear(2)), nn.Sequential(nn.Linear(2, 2, dtype=torch.complex64)), nn.GRU(2, 2),
        ):  # fmt: skip
            with self.assertRaises(pcxx_weights.WeightsError) as caught:
                pcxx_weights.save(network, "w")
            self.assertNotIn("\n", str(caught.exception))
        self.assertEqual(os.listdir("."), [])
        pcxx_weights.save(nn.Sequential(nn.Linear(2, 1)), "w", {"epoch": 5, "rate": 0.1})
        self.assertEqual(pcxx_weights.load("w").metadata["epoch"], "5")

    # Oracle: PyTorch's own outputs of the network as it is after training.
    def test_what_does_nothing_is_left_out(self):
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(4, 6), nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3), nn.Flatten()
        ).eval()
        pcxx_weights.save(network, "w")
        x = torch.randn(5, 4)
        self.assertTrue(torch.equal(pcxx_weights.load("w")(x), network(x)))

    # Oracle: the layers by hand.
    def test_a_slice_is_a_network(self):
        pcxx_weights.save(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.Linear(3, 2)), "w")
        network, x = pcxx_weights.load("w"), torch.randn(5, 4)
        self.assertTrue(torch.equal(network[:2](x), network[1](network[0](x))))
        self.assertTrue(torch.equal(network[1:](network[0](x)), network(x)))
        pcxx_weights.save(network[1:], "part")
        self.assertTrue(torch.equal(pcxx_weights.load("part")(network[0](x)), network(x)))

    # Oracle: the layers by hand.
    def test_blocks_are_saved_and_loaded(self):
        inner = pcxx_weights.from_sequential(nn.Sequential(nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 16)))
        conv = pcxx_weights.Conv2d((1, 4, 4), 1, padding=1, activation="relu", bias=True)
        nn.init.normal_(conv.weight)
        block = pcxx_weights.Block([conv, pcxx_weights.Block(inner)])
        pcxx_weights.save(nn.Sequential(block, nn.Linear(16, 3)), "w")
        network, x = pcxx_weights.load("w"), torch.randn(5, 16)
        self.assertEqual(
            network[0].kind(),
            "block(conv2d(channels=1, kernel=3, stride=1, padding=1, activation=relu, bias=true, input=1x4x4) "
            "block(dense(width=5, activation=tanh, bias=true, residual=false) "
            "dense(width=16, activation=identity, bias=true, residual=false)))",
        )
        y = conv(x)
        self.assertTrue(torch.equal(network[0](x), x + (y + inner(y))))
        self.assertIn("layer1.layer2.layer1.weight", network.state_dict())
        self.assertEqual(self.call("w", "--export", "w.pt2"), (0, ""))
        self.assertTrue(torch.allclose(torch.export.load("w.pt2").module()(x), network(x), atol=1e-6))
        one = entry((1, 1), 0, 4)
        ends = {"in_features": 1, "out_features": 1, "activation": "own", "bias": False, "residual": False}
        dense = "dense(width=1, activation=relu, bias=false, residual=false)"
        for kind in (
            dense, "block()", f"block({dense}", f"block({dense})) ", f"block( {dense})", f"block({dense}  {dense})",
            "block(dense(width=2, activation=relu, bias=false, residual=false))", "block(own)", f"block({dense}))",
            "block(" * 17 + dense + ")" * 17, "block(" * 5_000, f"block({dense})\n",
            "block(conv2d(channels=1, kernel=1, stride=1, padding=0, activation=relu, bias=false, input=1x1x2))",
        ):  # fmt: skip
            self.write({"__metadata__": texts([ends | {"kind": kind}]), "layer1.layer1.weight": one}, DATA[:4])
            self.assert_refused("not known here", "w")
        self.write({"__metadata__": texts([ends | {"kind": f"block({dense})"}]), "layer1.weight": one}, DATA[:4])
        self.assert_refused("has the sizes", "w")

    def assert_same(self, found, wanted):
        self.assertEqual(found.shape, wanted.shape)
        self.assertLessEqual(float((found - wanted).detach().abs().max()), 1e-12)

    # Oracle: PyTorch's own network, in float64.
    def test_convolutional_networks_of_pytorch_are_taken(self):
        network = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2)),
            nn.Conv2d(6, 4, 5, stride=2, bias=False), nn.GELU(), nn.AvgPool2d((2, 2), stride=(1, 1)),
            nn.MaxPool2d(3, 2), nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(8, 5), nn.SiLU(), nn.Linear(5, 3),
        ).double().eval()  # fmt: skip
        pcxx_weights.save(network, "w", input=(1, 28, 26))
        taken, x = pcxx_weights.load("w"), torch.randn(7, 1, 28, 26, dtype=torch.float64)
        self.assertEqual(
            [layer.kind() for layer in taken[:4]],
            [
                "group(conv2d(channels=6, kernel=5, stride=1, padding=2, activation=relu, bias=true, input=1x28x26) "
                "max_pool(kernel=2, stride=2, input=6x28x26))",
                "group(conv2d(channels=4, kernel=5, stride=2, padding=0, activation=gelu, bias=false, input=6x14x13) "
                "avg_pool(kernel=2, stride=1, input=4x5x5))",
                "max_pool(kernel=3, stride=2, input=4x4x4)",
                "conv2d(channels=8, kernel=1, stride=1, padding=0, activation=identity, bias=true, input=4x1x1)",
            ],
        )
        self.assert_same(taken(x.flatten(1)), network(x))
        self.assert_same(taken[:3](x.flatten(1)), network[:5](x).flatten(1))
        pcxx_weights.save(taken[2:], "part")
        self.assert_same(pcxx_weights.load("part")(taken[:2](x.flatten(1))), network(x))
        self.assertEqual(self.call("w", "--export", "w.pt2"), (0, ""))
        self.assert_same(torch.export.load("w.pt2").module()(x.flatten(1)), network(x))
        self.assertEqual(self.call("w", "--export", "w.pt"), (0, ""))
        for found, wanted in zip(torch.load("w.pt").values(), network.state_dict().values(), strict=True):
            self.assertTrue(torch.equal(found, wanted))

    # Oracle: PyTorch's own layers, in float64, of windows that fit images and that do not.
    def test_layers_of_images_are_those_of_pytorch(self):
        x = torch.randn(5, 3, 9, 11, dtype=torch.float64)
        for layer in (
            nn.MaxPool2d(2), nn.MaxPool2d(9, 1), nn.MaxPool2d((3, 3), 4, 0), nn.AvgPool2d(2), nn.AvgPool2d(3, (2, 2)),
            nn.AvgPool2d(9), nn.Conv2d(3, 2, 4, padding="valid"), nn.Conv2d(3, 2, 5, padding="same"),
            nn.Conv2d(3, 2, (2, 2), (3, 3), (1, 1)), nn.Conv2d(3, 2, 11, padding=1, bias=False),
        ):  # fmt: skip
            last = nn.Linear(layer.double()(x).flatten(1).shape[1], 2).double()
            network = nn.Sequential(nn.Identity(), layer, nn.Flatten(), last)
            pcxx_weights.save(network, "w", input=[3, 9, 11])
            self.assert_same(pcxx_weights.load("w")(x.flatten(1)), network(x))

    # Oracle: the layers by hand.
    def test_groups_stand_in_blocks(self):
        conv = pcxx_weights.Conv2d((1, 4, 4), 4, padding=1, activation="relu").double()
        nn.init.normal_(conv.weight)
        group = pcxx_weights.Block([conv, pcxx_weights.Pool2d((4, 4, 4), "avg_pool")], residual=False)
        half = pcxx_weights.Scale(16, 0.5)
        network = nn.Sequential(pcxx_weights.Block([group, half]), pcxx_weights.Pool2d((1, 4, 4), kernel=3, stride=1))
        pcxx_weights.save(network, "w")
        taken, x = pcxx_weights.load("w"), torch.randn(5, 16, dtype=torch.float64)
        maps = torch.relu(nn.functional.conv2d(x.reshape(5, 1, 4, 4), conv.weight, padding=1))
        y = x + nn.functional.avg_pool2d(maps, 2).flatten(1) / 2
        self.assertTrue(taken[0].kind().endswith(" scale(factor=0.5))"))
        self.assert_same(taken[0](x), y)
        self.assert_same(taken(x), nn.functional.max_pool2d(y.reshape(5, 1, 4, 4), 3, 1).flatten(1))
        self.assertIn("layer1.layer1.layer1.weight", taken.state_dict())

    # Oracle: PyTorch's own network, in float64.
    def test_activations_of_their_own_and_upsampling_are_taken(self):
        network = nn.Sequential(
            nn.Sigmoid(), nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Tanh(), nn.Conv2d(3, 2, 3), nn.SiLU(), nn.Upsample(scale_factor=(3, 3)), nn.Flatten(), nn.GELU(),
            nn.Linear(216, 5), nn.ReLU(), nn.LeakyReLU(), nn.Linear(5, 3),
        ).double().eval()  # fmt: skip
        pcxx_weights.save(network, "w", input=(1, 8, 4))
        taken, x = pcxx_weights.load("w"), torch.randn(7, 1, 8, 4, dtype=torch.float64)
        self.assert_same(taken(x.flatten(1)), network(x))
        kinds = [layer.kind() for layer in taken]
        self.assertEqual([kind.partition("(")[0] for kind in kinds], [
            "activation", "group", "activation", "upsample", "activation", "conv2d", "upsample", "activation", "dense",
            "activation", "dense"])  # fmt: skip
        self.assertEqual(kinds[2:4], ["activation(function=relu)", "upsample(factor=2, input=3x4x2)"])
        self.assertEqual(kinds[9], "activation(function=leaky_relu)")
        self.assertEqual(self.call("w", "--export", "w.pt2"), (0, ""))
        self.assert_same(torch.export.load("w.pt2").module()(x.flatten(1)), network(x))
        pcxx_weights.save(taken[2:], "part")
        self.assert_same(pcxx_weights.load("part")(taken[:2](x.flatten(1))), network(x))
        block = pcxx_weights.Block([pcxx_weights.Activation(5, "tanh"), pcxx_weights.Dense(5, 5)]).double()
        pcxx_weights.save(nn.Sequential(block, nn.ReLU()), "w")
        y = torch.randn(4, 5, dtype=torch.float64)
        self.assert_same(pcxx_weights.load("w")(y), torch.relu(y + torch.tanh(y) @ block.layer2.weight.mT))

    # Contract: texts of no layer are refused; an activation cannot come before anything says its width.
    def test_bad_texts_of_activations_and_upsampling_are_refused(self):
        ends = {"in_features": 4, "out_features": 4, "activation": "own", "bias": False, "residual": False}
        for kind in (
            "activation(function=soft)", "activation(function=)", "activation()", "activation(function=relu)\n",
            "upsample(factor=1)", "upsample(factor=0, input=1x2x2)", "upsample(factor=1, input=1x2x3)",
            "upsample(factor=2, input=1x2x2)", "upsample(factor=-1, input=1x2x2)", "upsample(factor=1, input=1x2x2) ",
            "upsample(factor=99999999, input=1x2x2)", "upsample(factor=9999999, input=1x2x2)",
        ):  # fmt: skip
            self.write({"__metadata__": texts([ends | {"kind": kind}])}, b"")
            self.assert_refused("not known here", "w")
        with self.assertRaises(pcxx_weights.WeightsError) as caught:
            pcxx_weights.from_sequential(nn.Sequential(nn.ReLU(), nn.Linear(2, 1)))
        self.assertIn("nothing says how many numbers", str(caught.exception))

    # Contract: one sentence for each, and nothing is written.
    def test_layers_of_images_that_pcxx_has_not_are_refused(self):
        conv, flat = nn.Conv2d(4, 4, 3), nn.Flatten()
        for part, *layers in (
            ("groups", nn.Conv2d(4, 4, 3, groups=2)), ("dilation", nn.Conv2d(4, 4, 2, dilation=2)),
            ("no square", nn.Conv2d(4, 4, (3, 2))), ("strides", nn.Conv2d(4, 4, 3, stride=(1, 2))),
            ("unequal padding", nn.Conv2d(4, 4, 3, padding=(1, 0))), ("too small", nn.Conv2d(4, 4, 9, padding=1)),
            ("unequal padding", nn.Conv2d(4, 4, 2, padding="same")), ("channels", nn.Conv2d(1, 4, 3)),
            ("other numbers", nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), ("channels", nn.LazyConv2d(2, 3)),
            ("padding", conv, nn.MaxPool2d(2, padding=1)), ("padding", nn.AvgPool2d(2, padding=(0, 1))),
            ("dilation", conv, nn.MaxPool2d(2, dilation=2)), ("ceil_mode", nn.AvgPool2d(2, ceil_mode=True)),
            ("ceil_mode", nn.MaxPool2d(2, ceil_mode=True)), ("divisor", conv, nn.AvgPool2d(2, divisor_override=3)),
            ("indices", nn.MaxPool2d(2, return_indices=True)), ("no square", nn.MaxPool2d((2, 3))),
            ("strides", nn.AvgPool2d(2, (1, 2))), ("too small", conv, nn.MaxPool2d(5)), ("0", nn.MaxPool2d(2, 0)),
            ("not nearest", nn.Upsample(scale_factor=2, mode="bilinear")), ("a size", nn.Upsample(8)),
            ("whole number", nn.Upsample(scale_factor=1.5)), ("whole number", nn.Upsample(scale_factor=(1, 2))),
            ("Flatten() is missing", conv, nn.Linear(4, 2)), ("Flatten() is missing", pcxx_weights.Pool2d((4, 6, 6))),
            ("no Flatten() stands before", flat, conv), ("no Flatten() stands before", flat, nn.MaxPool2d(2)),
            ("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d(1)), ("BatchNorm2d", conv, nn.BatchNorm2d(4)),
            ("MaxPool1d", nn.MaxPool1d(2)), ("Flatten(start_dim=2", conv, nn.Flatten(2)), ("layer 2 takes 5", conv,
            flat, nn.Linear(5, 2)), ("all float32", nn.MaxPool2d(2)), ("Softplus", conv, nn.Softplus()),
        ):  # fmt: skip
            with self.assertRaises(pcxx_weights.WeightsError) as caught:
                pcxx_weights.save(nn.Sequential(*layers), "w", input=(4, 6, 6))
            self.assertIn(part, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
        for layer in (conv, nn.MaxPool2d(2)):
            with self.assertRaises(pcxx_weights.WeightsError) as caught:
                pcxx_weights.from_sequential(nn.Sequential(layer))
            self.assertIn("input=(channels, height, width)", str(caught.exception))
        for shape in ((6, 6), 36, "466", (4, 6, 0), (4, 6, -6), (4.0, 6, 6), (True, 6, 6), [], {4, 6, 7}):
            with self.assertRaises(pcxx_weights.WeightsError) as caught:
                pcxx_weights.from_sequential(nn.Sequential(conv), input=shape)
            self.assertIn("input is (channels, height, width)", str(caught.exception))
        self.assertEqual(os.listdir("."), [])

    # Contract: as of blocks, texts of no layer are refused before anything is made of them.
    def test_bad_texts_of_pooling_and_groups_are_refused(self):
        dense = "dense(width=1, activation=relu, bias=false, residual=false)"
        ends = {"in_features": 4, "out_features": 1, "activation": "own", "bias": False, "residual": False}
        pool = "max_pool(kernel=2, stride=2, input=1x2x2)"
        for kind in (
            "max_pool(kernel=2, stride=2)", "max_pool(kernel=2, input=1x2x2)", "max_pool()", "max_pool", f" {pool}",
            "min_pool(kernel=2, stride=2, input=1x2x2)", "max_pool(kernel=0, stride=2, input=1x2x2)", f"{pool}\n",
            "max_pool(kernel=2, stride=0, input=1x2x2)", "max_pool(kernel=3, stride=1, input=1x2x2)", f"{pool})",
            "max_pool(kernel=2, stride=2, input=2x2x2)", "max_pool(kernel=2, stride=2, input=0x2x2)", "group()",
            "max_pool(kernel=02, stride=2, input=1x2x2)", "max_pool(kernel=-2, stride=2, input=1x2x2)", "group",
            "max_pool(kernel=\u0662, stride=2, input=1x2x2)", "max_pool(kernel=1, stride=2, input=1x2x2)x",
            "max_pool(kernel=1, stride=9999999, input=9999999x9999999x9999999)", f"block({pool})", f"group({pool}",
            "max_pool(kernel=99999999, stride=2, input=1x2x2)", f"group({pool} {pool})", f"group({dense}  {dense})",
            "group(" * 17 + dense + ")" * 17, "group(block(" * 9 + dense + "))" * 9, "group(" * 5_000, "group(own)",
            "max_pool(kernel=2, stride=2, padding=0, input=1x2x2)", f"block(group({dense}))", f"groups({dense})",
        ):  # fmt: skip
            one = {"layer1.layer1.weight": entry((1, 4), 0, 16)}
            self.write({"__metadata__": texts([ends | {"kind": kind}])} | one, DATA * 2)
            self.assert_refused("not known here", "w")
        self.write({"__metadata__": texts([ends | {"kind": f"group({pool})"}])} | one, DATA * 2)
        self.assert_refused("has the sizes", "w")
        self.write({"__metadata__": texts([ends | {"kind": pool}])}, b"")
        self.assert_refused("holds no weights", "w")
        self.write({"__metadata__": texts([ends | {"kind": f"group({dense})"}])} | one, DATA * 2)
        self.assertEqual(self.call("w"), (0, ""))

    # Oracle: the same numbers in this machine's order of bytes and precision.
    def test_inputs_of_any_real_kind_are_taken(self):
        pcxx_weights.save(nn.Sequential(nn.Linear(4, 3)), "w")
        wanted = None
        numbers = np.arange(8).reshape(2, 4)
        for dtype in ("<f4", ">f4", "<f8", ">f8", "<i8", ">i2", "u1", "<u4", "f2"):
            np.save("i.npy", numbers.astype(dtype))
            self.assertEqual(self.call("w", "--inputs", "i.npy", "--outputs", "o.npy")[0], 0)
            wanted = np.load("o.npy") if wanted is None else wanted
            self.assertTrue(np.array_equal(np.load("o.npy"), wanted), dtype)
        os.remove("o.npy")
        texts_, objects = np.array([["a"] * 4]), np.array([None])
        for array in (numbers.astype(complex), numbers[0], numbers[:, :3], numbers[None], texts_, objects):
            np.save("i.npy", array)
            self.assert_refused("i.npy holds no [batch, 4]", "w", "--inputs", "i.npy", "--outputs", "o.npy")
        np.savez("i.npz", numbers)
        self.assert_refused("i.npz holds no", "w", "--inputs", "i.npz", "--outputs", "o.npy")
        np.save("i.npy", numbers)
        header = Path("i.npy").read_bytes()
        for data in (b"", b"x", header[:40], header.replace(b"(2, 4)", b"(9" + b"9" * 12 + b", 4)", 1)):
            Path("i.npy").write_bytes(data)
            self.assert_refused("i.npy holds no", "w", "--inputs", "i.npy", "--outputs", "o.npy")
        self.assertFalse(Path("o.npy").exists())

    # Oracle: the state_dict itself.
    def test_archives_of_state_dicts_are_converted(self):
        network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 3, bias=False)))
        scripted = torch.jit.script(network)
        torch.save(network.state_dict(), "state.pt")
        strided = {name: value.double().repeat_interleave(2, 0)[::2] for name, value in network.state_dict().items()}
        torch.save(strided, "double.pt")
        scripted.save("script.pt")
        for name in ("state.pt", "double.pt", "script.pt"):
            self.assertEqual(self.call(name, "--convert", "new.safetensors"), (0, ""))
            tensors, _ = pcxx_weights.read_safetensors("new.safetensors")
            self.assertEqual(list(tensors), ["layer1.weight", "layer1.bias", "layer2.weight"])
            for found, wanted in zip(tensors.values(), network.state_dict().values()):
                self.assertTrue(torch.equal(found.float(), wanted))

    # Contract: nothing in an archive is run, and one sentence says what it is.
    def test_archives_that_run_code_are_refused(self):
        Path("victim.txt").write_text("precious")

        class Shell:
            def __reduce__(self):
                return os.system, ("echo overwritten > victim.txt",)

        class Script(nn.Module):
            def __init__(self):
                super().__init__()
                self.b = torch.tensor(list(b"overwritten"), dtype=torch.uint8)

            def forward(self, x):
                return x

            @torch.jit.export
            def __getstate__(self):
                return self.b, self.training

            @torch.jit.export
            def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
                self.training = state[1]
                f = torch.from_file("victim.txt", True, state[0].numel(), dtype=torch.uint8)
                f.copy_(state[0])
                self.b = f

        torch.save({"layer1.weight": Shell()}, "shell.pt")
        torch.save(nn.Linear(2, 1), "object.pt")
        torch.jit.script(Script()).save("script.pt")
        self.assert_refused("calls", "shell.pt", "--convert", "new")
        self.assert_refused("makes a", "object.pt", "--convert", "new")
        self.assert_refused("reads its members by code of its own", "script.pt", "--convert", "new")
        for name in ("shell.pt", "object.pt", "script.pt"):
            self.assert_refused("--convert", name)
        self.assertEqual(Path("victim.txt").read_text(), "precious")
        self.assertFalse(Path("new").exists())

    # Contract: archives by hand that lie about what is in them.
    def test_bad_archives_are_refused(self):
        torch.save(OrderedDict({"0.weight": torch.ones(2, 3)}), "good.pt")
        with zipfile.ZipFile("good.pt") as archive:
            good = {name: archive.read(name) for name in archive.namelist()}
        pickled = next(name for name in good if name.endswith("data.pkl"))
        numbers = next(name for name in good if name.endswith("data/0"))

        def archive(changes, compression=zipfile.ZIP_STORED):
            with zipfile.ZipFile("bad.pt", "w", compression) as file:
                for name, data in (good | changes).items():
                    if data is not None:
                        file.writestr(name, data)
            return "bad.pt", "--convert", "new"

        self.assertEqual(self.call(*archive({}))[0], 0)
        os.remove("new")
        self.assert_refused("compressed", *archive({}, zipfile.ZIP_DEFLATED))
        self.assert_refused("bad.pt", *archive({numbers: None}))
        self.assert_refused("does not hold the numbers", *archive({numbers: good[numbers][:-4]}))
        self.assert_refused("not of finite", *archive({numbers: struct.pack("<6f", *[float("nan")] * 6)}))
        self.assert_refused("is no archive", *archive({pickled: None}))
        self.assert_refused("is no archive", *archive({"other/data.pkl": good[pickled]}))
        root = pickled.removesuffix("data.pkl")
        self.assert_refused("order of bytes", *archive({root + "byteorder": b"big"}))
        memo = {"a": {}}
        for _ in range(40):  # 2^40 members, if they were counted
            memo = {"a": memo, "b": memo}
        loop = {}
        loop["a"] = loop
        for value in (
            memo, loop, 3, None, [], "x", {1: 2}, {"a": 3}, {"a": [[]]}, os.system, OrderedDict(a=1), b"x" * 9
        ):  # fmt: skip
            self.assert_refused("bad.pt", *archive({pickled: pickle.dumps(value, 2)}))
        nested = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
        huge = b"\x80\x02\x8e" + b"\xff" * 8 + b"."
        for text in (
            b"", b"\x80", b".", b"(.", b"a.", b"t.", b"\x80\x02}h\x09.", nested, huge, b"\x80\x02Nr\xff\xff\xff\x7f.",
            b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.", b"\x80\x04\x95" + b"\xff" * 8, b"}}b.", b"c\n\n)\x81.",
            b"K\x01Q.", b"((((((((tQ.",
        ):  # fmt: skip
            self.assert_refused("bad.pt", *archive({pickled: text}))
        data = good[pickled]
        for i in range(len(data)):  # nothing but one sentence or weights, whatever byte is changed
            code, said = self.call(*archive({pickled: data[:i] + bytes([data[i] ^ 0x15]) + data[i + 1 :]}))
            self.assertTrue(code == 0 or (code == 2 and said.count("\n") == 1), said)
        self.assert_refused("is no archive of PyTorch", self.write({}), "--convert", "new")
        Path("short.pt").write_bytes(Path("good.pt").read_bytes()[:100])
        self.assert_refused("is no whole archive", "short.pt", "--convert", "new")
        for name, value in (("half", torch.ones(2, 3).half()), ("flat", torch.ones(3)), ("deep", torch.ones(2, 2, 3))):
            torch.save({"0.weight": value}, name)
            self.assert_refused(name, name, "--convert", "new")
        torch.save({"running_mean": torch.ones(2)}, "norm.pt")
        self.assert_refused("that no Linear layer has", "norm.pt", "--convert", "new")


if __name__ == "__main__":
    unittest.main()
