#!/usr/bin/env python3
"""Tests of the Python package's library: tensors both ways, networks, rules, trainings, threads, interruptions."""

import copy
import csv
import gc
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tomllib
import traceback
import unittest
from pathlib import Path

import numpy as np
import pcxx
import torch
from pcxx import _core, _programs
from pcxx._torch import tensor_of
from torch import nn

SOURCE = Path(__file__).resolve().parents[2]
torch.set_num_threads(1)


def network(widths=(3, 5, 2), **keys):
    return pcxx.Network(widths, seed=1, **keys)


def samples(count=7, n_in=3, n_out=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return torch.randn(count, n_in, **draw), torch.randn(count, n_out, **draw)


def backpropagated(net, x, y):
    """Minus the gradients of the mean of 1/2 ||y - yhat||^2, by autograd of torch's own layers."""
    module = net.to_torch()
    (0.5 * (y - module(x)).square().sum() / len(x)).backward()
    return [-parameter.grad for parameter in module.parameters()]


class SampleCase(unittest.TestCase):
    def assert_close(self, a, b, tolerance=1e-12):
        self.assertEqual(a.shape, b.shape)
        self.assertLessEqual(float((a - b).detach().abs().max()), tolerance)

    def assert_same(self, a, b):
        self.assertTrue(torch.equal(a, b))

    def assert_refused(self, sentence, function, *arguments, **keys):
        with self.assertRaisesRegex(pcxx.UserError, sentence) as caught:
            function(*arguments, **keys)
        self.assertNotIn("\n", str(caught.exception))


class Data(SampleCase):
    """What is handed in: everything that torch and numpy have, or one sentence."""

    def setUp(self):
        self.net = network()
        self.x, self.y = samples()
        self.rule = pcxx.Rule("bp")

    def factors(self, x, y):
        return self.rule.factors(self.net, x, y)

    def test_tensors_are_the_same_objects_on_both_sides(self):
        weight = self.net.parameters()[0]
        self.assertIs(weight, self.net.parameters()[0])
        self.assertIs(weight, self.net.layers[0].weight)
        with torch.no_grad():
            weight.zero_()
        self.assert_same(self.net(self.x), torch.zeros(7, 2, dtype=torch.float64))

    def test_numpy_arrays_share_their_memory(self):
        array = self.x.numpy().copy()
        self.assertEqual(tensor_of(array, "x").data_ptr(), array.ctypes.data)

    def test_all_forms_of_the_same_numbers_give_the_same(self):
        expected = self.factors(self.x, self.y).prediction
        wide = torch.zeros(7, 6, dtype=torch.float64)
        wide[:, ::2] = self.x
        array = self.x.numpy()
        read_only = array.copy()
        read_only.flags.writeable = False
        forms = {
            "non-contiguous": wide[:, ::2],
            "transposed": self.x.t().contiguous().t(),
            "numpy": array,
            "negative strides": array[::-1].copy()[::-1],
            "read-only": read_only,
            "big-endian": array.astype(">f8"),
            "Fortran": np.asfortranarray(array),
            "lists": self.x.tolist(),
        }
        for name, form in forms.items():
            with self.subTest(name):
                self.assert_same(self.factors(form, self.y).prediction, expected)

    def test_other_precisions_are_cast(self):
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.bool):
            with self.subTest(dtype):
                x = (self.x * 4).to(dtype)
                self.assert_same(self.factors(x, self.y).prediction, self.net(x.double()).detach())

    def test_bytes_are_images(self):
        x = torch.arange(21, dtype=torch.uint8).view(7, 3) * 12
        expected = self.net(x.double() / 255).detach()
        self.assert_same(self.factors(x, self.y).prediction, expected)
        self.assert_same(self.net.predict(x.view(7, 1, 3)), expected)

    def test_labels_are_rows_with_one_1(self):
        labels = torch.tensor([0, 1, 1, 0, 1, 0, 0])
        rows = nn.functional.one_hot(labels, 2).double()
        expected = self.factors(self.x, rows).layers[1].error
        for form in (labels, labels.int(), labels.numpy(), labels.tolist()):
            self.assert_same(self.factors(self.x, form).layers[1].error, expected)

    def test_gradients_are_not_lost_in_silence(self):
        self.assert_refused("x asks for a gradient", self.factors, self.x.clone().requires_grad_(), self.y)
        self.assert_refused("y asks for a gradient", self.factors, self.x, self.y.clone().requires_grad_())
        self.assert_refused("x asks for a gradient", self.net.predict, self.net(self.x)[:, :1].expand(7, 3))

    def test_the_forward_pass_keeps_gradients(self):
        x = self.x.clone().requires_grad_()
        module = self.net.to_torch()
        self.net(x).square().sum().backward()
        mine = x.grad.clone()
        x.grad = None
        module(x).square().sum().backward()
        self.assert_close(mine, x.grad)
        for own, parameter in zip(self.net.parameters(), module.parameters()):
            self.assert_close(own.grad, parameter.grad)

    def test_what_does_not_fit_is_refused_in_one_sentence(self):
        x, y = self.x, self.y
        cases = [
            (r"x is \[7, 2\], and the network has inputs \[N, 3\]", x[:, :2], y),
            (r"x is \[3\]", x[0], y),
            (r"x has no samples", x[:0], y[:0]),
            (r"y is \[7, 3\], and the network has outputs \[N, 2\]", x, x),
            (r"x has 7 samples, and y has 6", x, y[:6]),
            (r"x is complex", x.to(torch.complex64), y),
            (r"x is no dense tensor", x.to_sparse(), y),
            (r"x is no dense tensor", x.to("meta"), y),
            (r"x is no tensor and no array of real numbers, but a str", "words", y),
            (r"x is no tensor and no array", np.array([object()]), y),
            (r"x is no tensor and no array", np.zeros((7, 3), complex), y),
            (r"x is no tensor and no array", [[1.0], [1.0, 2.0]], y),
            (r"y has labels from 0 to 2, and the network has 2 outputs", x, torch.tensor([0, 1, 2, 0, 1, 0, 0])),
            (r"y has labels from -1 to 1", x, np.array([0, 1, -1, 0, 1, 0, 0])),
        ]
        for sentence, a, b in cases:
            with self.subTest(sentence):
                self.assert_refused(sentence, self.factors, a, b)

    def test_forward_is_as_strict_as_torch(self):
        for x in (self.x.float(), self.x[:, :2], self.x.to("meta")):
            with self.assertRaises(RuntimeError) as caught:
                self.net(x)
            self.assertNotIn("Exception raised from", str(caught.exception))
        with self.assertRaises(TypeError):
            self.net(self.x.numpy())


class Networks(SampleCase):
    def test_computes_what_torch_computes(self):
        x, _ = samples()
        for keys in ({}, {"activation": "tanh", "bias": True}, {"architecture": "dln"}, {"activation": "gelu"}):
            with self.subTest(keys):
                net = network(**keys)
                module = net.to_torch()
                self.assertIs(type(module), nn.Sequential)
                self.assert_close(net(x), module(x))

    def test_from_torch_and_back(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)).double()
        net = pcxx.Network.from_torch(model)
        x, _ = samples()
        self.assert_close(net(x), model(x))
        self.assert_close(net.to_torch()(x), model(x))
        with torch.no_grad():
            model[0].weight.zero_()
        self.assertGreater(float(net.parameters()[0].detach().abs().max()), 0)

    def test_from_torch_with_images(self):
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
        net = pcxx.Network.from_torch(model, input=[1, 6, 6])
        images = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(3))
        self.assert_close(net.predict(images), model(images).detach(), 1e-6)
        self.assert_close(net.to_torch()(images.flatten(1)), model(images), 1e-6)
        self.assert_refused("LayerNorm", pcxx.Network.from_torch, nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))

    def test_layers_as_text_and_as_mappings(self):
        text = "conv2d(channels=2, stride=2, activation=relu) dense(width=3)"
        rows = [{"kind": "conv2d", "channels": 2, "stride": 2, "activation": "relu"}, {"kind": "dense", "width": 3}]
        a = pcxx.Network([36, 3], layers=text, seed=4)
        b = pcxx.Network(layers=rows, input=[1, 6, 6], seed=4)
        self.assert_same(a.parameters()[1], b.parameters()[1])
        self.assertEqual(a.widths, [36, 8, 3])

    def test_copies_are_the_same_and_independent(self):
        x, _ = samples()
        for net in (
            network(bias=True, dtype=torch.float32),
            pcxx.Network(
                layers=[{"kind": "block", "layers": [{"kind": "dense"}]}, {"kind": "dense", "width": 2}], input=[3]
            ),
        ):
            net.note = "mine"
            for copied in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
                self.assertEqual(repr(copied), repr(net))
                self.assertEqual(copied.note, "mine")
                self.assert_same(copied(x.to(net.dtype)), net(x.to(net.dtype)))
                with torch.no_grad():
                    copied.parameters()[0].add_(1)
                self.assertFalse(torch.equal(copied.parameters()[0], net.parameters()[0]))

    def test_a_diverged_network_can_be_pickled(self):
        net = network()
        with torch.no_grad():
            net.parameters()[0].fill_(math.nan)
        self.assertTrue(pickle.loads(pickle.dumps(net)).parameters()[0].isnan().all())

    def test_state_dicts(self):
        net, other = network(), pcxx.Network((3, 5, 2), seed=2)
        self.assertEqual(list(net.state_dict()), ["layer1.weight", "layer2.weight"])
        other.load_state_dict(net.state_dict())
        self.assert_same(other.parameters()[1], net.parameters()[1])
        before = other.parameters()[0].clone()
        good = {name: tensor + 1 for name, tensor in net.state_dict().items()}
        for sentence, bad in (
            ("no parameter 'layer3.weight'", good | {"layer3.weight": torch.zeros(2, 2)}),
            (r"'layer2.weight' is \[2, 5\] in the network, not \[5, 2\]", good | {"layer2.weight": torch.zeros(5, 2)}),
            ("no 'layer2.weight'", {"layer1.weight": good["layer1.weight"]}),
        ):
            self.assert_refused(sentence, other.load_state_dict, bad)
            self.assert_same(other.parameters()[0], before)

    def test_files(self):
        net = network(bias=True, loss="cross_entropy", activation="tanh", dtype=torch.float32)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.safetensors"
            net.save(path)
            read = pcxx.load(path)
            self.assertEqual(repr(read), repr(net))
            for a, b in zip(read.parameters(), net.parameters()):
                self.assert_same(a, b)
            path.write_bytes(path.read_bytes()[:-3])
            self.assert_refused("net.safetensors", pcxx.load, path)
            self.assert_refused("none.safetensors", pcxx.load, Path(folder) / "none.safetensors")
            self.assert_refused("nowhere", net.save, Path(folder) / "nowhere" / "net.safetensors")

    def test_precision(self):
        net = network()
        weight = net.parameters()[0].detach().clone()
        self.assertIs(net.to(torch.float32), net)
        self.assertIs(net.dtype, torch.float32)
        self.assert_same(net.parameters()[0], weight.float())
        self.assertIs(copy.copy(net).dtype, torch.float32)
        self.assert_refused("dtype = 'Half'", net.to, torch.float16)

    def test_mistakes_are_one_sentence(self):
        for sentence, keys in (
            ("needs widths", {}),
            ("at least two numbers", {"widths": [3]}),
            ('activation = "rellu"', {"widths": [3, 2], "activation": "rellu"}),
            ("did you mean 'condition_number'", {"widths": [3, 2], "condition_numbers": 3}),
            ("layers: layer 1", {"widths": [3, 2], "layers": "dense(width=5)"}),
            ("layers is empty", {"layers": [], "input": [3]}),
            ("cross_entropy", {"widths": [3, 2], "architecture": "autoencoder", "loss": "cross_entropy"}),
        ):
            with self.subTest(sentence):
                self.assert_refused(sentence, pcxx.Network, **keys)
        self.assertTrue(issubclass(pcxx.UserError, ValueError))

    def test_predictions_of_logits_are_probabilities(self):
        net = network(loss="cross_entropy")
        x, _ = samples()
        self.assert_close(net.predict(x), net(x).detach().softmax(1))


class Rules(SampleCase):
    def test_backpropagation_is_the_gradient(self):
        x, y = samples()
        net = network(bias=True, activation="tanh")
        expected = backpropagated(net, x, y)
        found = [direction for pair in pcxx.Rule("bp").factors(net, x, y).directions for direction in pair]
        self.assertEqual(len(found), len(expected))
        for a, b in zip(found, expected):
            self.assert_close(a, b)

    def test_equilibrium_of_a_linear_network(self):
        """E* = 1/2 r^T S^-1 r with S = I + W_2 W_2^T (eq. 3 and 4)."""
        x, y = samples()
        net = network(architecture="dln")
        settled = pcxx.Inference("lbfgs", inference_steps=500, inference_tolerance=1e-12).infer(net, x, y)
        last = net.parameters()[1].detach()
        r = y - net(x).detach()
        energy = 0.5 * (r @ torch.linalg.inv(torch.eye(2) + last @ last.T) * r).sum(1)
        self.assert_close(settled.report.energy, energy, 1e-10)
        self.assertTrue(settled.report.converged.all())
        self.assertEqual(settled.report.regime, "equilibrium")
        errors = settled.errors
        self.assert_close(0.5 * sum(e.square().sum(1) for e in errors), energy, 1e-10)
        self.assert_same(settled.activities[2], y)
        self.assert_same(settled.feedforward[2], net(x).detach())

    def test_steps_of_predictive_coding_report(self):
        x, y = samples()
        step = pcxx.Rule("pc", inference="error_descent", inference_steps=3, inference_tolerance=1e-9).factors(
            network(), x, y
        )
        self.assertEqual(step.report.passes.tolist(), [3] * 7)
        self.assertIn("error_descent", repr(step.report))
        self.assertIsNone(pcxx.Rule("bp").factors(network(), x, y).report)

    def test_target_alignment_as_theory_predicts_it(self):
        x, y = samples()
        net = network((3, 4, 4, 2), architecture="dln")
        step = pcxx.Rule("pc").factors(net, x, y)
        measured = pcxx.target_alignment(net, x, y, step)
        self.assert_close(measured.per_sample, pcxx.predicted_alignment(net, x, y, "pc").alignment.per_sample, 1e-10)
        r, d = samples(7, 2, 2, seed=5)
        cosine = nn.functional.cosine_similarity(r, d)
        self.assert_close(pcxx.target_alignment(r, d).per_sample, cosine)
        self.assert_refused("theory predicts no update", pcxx.predicted_alignment, net, x, y, "kpc")

    def test_one_sample_with_alpha_is_aligned(self):
        """Theorem 1: at B = 1 predictive coding with alpha changes the prediction by the residual."""
        x, y = samples(1)
        net = network((3, 4, 4, 2), architecture="dln")
        optimizer = pcxx.Optimizer(net, learning_rate=0.1, rescaling="alpha")
        step = pcxx.Rule("pc").factors(net, x, y)
        self.assert_close(
            pcxx.target_alignment(net, x, y, step, optimizer).mean, torch.tensor(1.0, dtype=torch.float64)
        )

    def test_a_rule_with_a_memory_is_one_networks(self):
        x, y = samples()
        rule = pcxx.Rule("kpc")
        rule.factors(network(), x, y)
        self.assert_refused("remembers another network", rule.factors, network(), x, y)
        rule = pcxx.Rule("bp")
        rule.factors(network(), x, y)
        rule.factors(network((3, 2)), x, y)

    def test_mistakes_are_one_sentence(self):
        net, (x, y) = network(), samples()
        self.assert_refused('rule = "pq" is not one of', pcxx.Rule, "pq")
        self.assert_refused("did you mean 'inference_steps'", pcxx.Rule, "pc", inference_step=3)
        self.assert_refused("a rule is a name", pcxx.Rule, 3)
        self.assert_refused("needs a linear network", pcxx.Rule("pc", inference="closed_form").factors, net, x, y)
        self.assert_refused("needs a learning_rate", pcxx.Optimizer, net, "adam")
        self.assert_refused("learning_rate", pcxx.Optimizer, net, learning_rate=-1)
        self.assert_refused("optimizer", pcxx.Optimizer, net, "adm", learning_rate=1)
        self.assert_refused("an optimizer is a name", pcxx.Optimizer, net, 3)
        self.assert_refused("a rescaling is a name", pcxx.Optimizer, net, learning_rate=1, rescaling=3)
        self.assert_refused("needs an optimizer", pcxx.Trainer, net, "pc")
        self.assert_refused("of another network", pcxx.Trainer, net, "pc", pcxx.Optimizer(network(), learning_rate=1))
        self.assert_refused(
            "takes its steps as they are", pcxx.Trainer, net, "kpc", pcxx.Optimizer(net, learning_rate=0.5)
        )
        self.assert_refused(
            "rescaling = 'none'", pcxx.Trainer, net, "kpc", pcxx.Optimizer(net, learning_rate=1, rescaling="alpha")
        )


class PlainBackpropagation:
    """The rule bp, written with what the package gives to rules of one's own."""

    def factors(self, net, x, y):
        activities = net.feedforward(x)
        signal, layers = y - activities[-1], []
        for layer, below in reversed(list(zip(net.layers, activities))):
            error, signal = layer.pull_back(below, signal)
            layers.insert(0, pcxx.LayerFactors(layer.weight, error, below, below, len(x), layer.bias))
        return pcxx.Step(layers, activities[-1])


class Doubled:
    """The rescaling of twice the direction."""

    def directions(self, layers):
        found = []
        for layer in layers:
            weight = 2 * layer.error.T @ layer.presynaptic / layer.samples
            found.append(weight if layer.bias is None else (weight, 2 * layer.error.mean(0)))
        return found


class Squashed(nn.Module):
    """tanh(W x), which the library has too."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in))

    def forward(self, x):
        return torch.tanh(x @ self.weight.T)

    def draw_(self, generator):
        with torch.no_grad():
            self.weight.normal_(0, 1 / math.sqrt(self.weight.shape[1]), generator=generator)


pcxx.add_layer("squashed", Squashed)


class OwnParts(SampleCase):
    """Parts written in Python do what the library's own do."""

    def trained(self, rule="bp", optimizer="sgd", net=None, steps=20, **keys):
        net = net or network(activation="tanh", bias=True)
        x, y = samples(30)
        made = (
            optimizer(net) if callable(optimizer) else pcxx.Optimizer(net, optimizer, **{"learning_rate": 0.1} | keys)
        )
        history = pcxx.fit(net, rule, made, x, y, steps=steps, batch_size=8)
        self.assertEqual(len(history["train_error"]), steps)
        return net.parameters()

    def assert_same_training(self, a, b):
        for one, other in zip(a, b):
            self.assert_close(one.detach(), other.detach())

    def test_rule(self):
        self.assert_same_training(self.trained(PlainBackpropagation()), self.trained("bp"))

    def test_rescaling(self):
        self.assert_same_training(self.trained(rescaling=Doubled()), self.trained(learning_rate=0.2))

    def test_optimizer_of_torch(self):
        own = self.trained(
            optimizer=lambda net: pcxx.Optimizer(net, torch.optim.Adam(net.parameters(), 0.01), rescaling="alpha")
        )
        self.assert_same_training(own, self.trained(optimizer="adam", learning_rate=0.01, rescaling="alpha"))

    def test_layer(self):
        layers = ("squashed(width=4) dense(width=2)", "dense(width=4, activation=tanh) dense(width=2)")
        own, known = (pcxx.Network([3, 2], layers=text, seed=3) for text in layers)
        self.assertGreater(float(own.parameters()[0].detach().abs().max()), 0)
        known.load_state_dict(own.state_dict())
        for rule in ("bp", pcxx.Rule("pc", inference="error_descent", inference_steps=30)):
            self.assert_same_training(self.trained(rule, net=own), self.trained(rule, net=known))
            for net in (copy.copy(own), pickle.loads(pickle.dumps(own))):
                self.assert_close(net(samples()[0]), known(samples()[0]))

    def test_what_they_raise_comes_through(self):
        class Failing:
            def factors(self, net, x, y):
                raise KeyError("mine")

        class Nothing:
            def factors(self, net, x, y):
                return None

        class Short:
            def directions(self, layers):
                return []

        with self.assertRaisesRegex(KeyError, "mine"):
            self.trained(Failing())
        self.assert_refused("made no pcxx.Step, but a NoneType", self.trained, Nothing())
        self.assert_refused("made 0 directions of 2 layers", self.trained, rescaling=Short())

    def test_gradients_work_in_a_rule_of_ones_own(self):
        class ByAutograd:
            def factors(self, net, x, y):
                w1, w2 = net.parameters()
                hidden = torch.tanh(x @ w1.T)
                hidden.retain_grad()
                prediction = hidden @ w2.T
                (0.5 * (y - prediction).square().sum()).backward()
                net.to_check = hidden.grad
                residual = (y - prediction).detach()
                error = -hidden.grad * (1 - hidden.detach().square())
                hidden = hidden.detach()
                return pcxx.Step(
                    [
                        pcxx.LayerFactors(w1, error, x, x, len(x)),
                        pcxx.LayerFactors(w2, residual, hidden, hidden, len(x)),
                    ],
                    prediction.detach(),
                )

        a = self.trained(ByAutograd(), net=network(activation="tanh"))
        self.assert_same_training(a, self.trained("bp", net=network(activation="tanh")))


class Trainings(SampleCase):
    def trainer(self, rule="pc", net=None, **keys):
        net = net or network()
        return pcxx.Trainer(net, rule, None if rule == "kpc" else pcxx.Optimizer(net, **{"learning_rate": 0.05} | keys))

    def test_a_step_is_factors_and_optimizer(self):
        x, y = samples()
        a, b = self.trainer(), network()
        rule, optimizer = pcxx.Rule("pc"), pcxx.Optimizer(b, learning_rate=0.05)
        error = pcxx.mean_error(b, x, y)
        self.assertAlmostEqual(error, float((y - b(x)).square().mean()), 14)
        for _ in range(3):
            numbers = a.step(x, y)
            optimizer.step(rule.factors(b, x, y))
        self.assertAlmostEqual(a.step(x, y)["train_error"], pcxx.mean_error(b, x, y), 14)
        self.assertEqual(set(numbers), {"train_error", "inference_passes", "inference_converged"})

    def test_epochs_and_their_order(self):
        x, y = samples(10)
        told = []
        history = self.trainer("bp").fit(
            x, y, epochs=3, batch_size=4, callback=lambda epoch, found: told.append((epoch, found))
        )
        errors = history["train_error"]
        self.assertEqual(len(errors), 8)  # 30 samples, the last batch filled up
        self.assertEqual([epoch for epoch, _ in told], [0, 1, 2])
        for (_, found), part in zip(told, (errors[:3], errors[3:5], errors[5:])):
            self.assertAlmostEqual(found["train_error"], float(part.mean()), 14)
        plain = self.trainer("bp")
        plain.fit(x, y, steps=3, batch_size=4, shuffle=False)
        by_hand = self.trainer("bp")
        for rows in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]):
            by_hand.step(x[rows], y[rows])
        self.assert_same(plain.net.parameters()[0], by_hand.net.parameters()[0])

    def test_goes_on_bit_by_bit(self):
        x, y = samples(40)
        for rule, keys in (
            ("pc", {"optimizer": "adam", "rescaling": "recursive_projection"}),
            ("kpc", {}),
            ("ipc", {}),
        ):
            with self.subTest(rule):
                straight = self.trainer(rule, **keys)
                straight.fit(x, y, steps=5, batch_size=8, seed=1)
                state = straight.state_dict()
                pickled = pickle.loads(pickle.dumps(straight))
                copied = copy.deepcopy(straight)
                loaded = self.trainer(rule, **keys)
                loaded.load_state_dict(state)
                for trainer in (straight, pickled, copied, loaded):
                    trainer.fit(x, y, steps=5, batch_size=8, seed=2)
                for other in (pickled, copied, loaded):
                    for a, b in zip(straight.net.parameters(), other.net.parameters()):
                        self.assert_same(a, b)
        with self.assertRaisesRegex(RuntimeError, "rule"):
            self.trainer("bp").load_state_dict(state)

    def test_schedules(self):
        net, (x, y) = network(), samples()
        optimizer = pcxx.Optimizer(net, learning_rate=0.5)
        before = net.parameters()[1].detach().clone()
        step = pcxx.Rule("bp").factors(net, x, y)
        optimizer.learning_rate = 0.25
        self.assertEqual(optimizer.learning_rate, 0.25)
        optimizer.step(step)
        self.assert_close(net.parameters()[1].detach(), before + 0.25 * step.directions[1][0])
        with self.assertRaisesRegex(pcxx.UserError, "learning_rate = 0"):
            optimizer.learning_rate = 0

    def test_an_unstable_inference_ends_a_training(self):
        net = network()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(30)
        rule = pcxx.Rule("pc", inference="error_descent", inference_step_size=10.0, inference_steps=50)
        x, y = samples()
        before = net.parameters()[0].detach().clone()
        history = pcxx.fit(net, rule, pcxx.Optimizer(net, learning_rate=0.1), x, y, steps=5)
        self.assertEqual(history["inference_unstable_at"].tolist(), [0])
        self.assert_same(net.parameters()[0], before)

    def test_bad_paces_are_refused(self):
        x, y = samples()
        trainer = self.trainer()
        self.assert_refused("batch_size = 0", trainer.fit, x, y, batch_size=0)
        self.assert_refused("epochs = -1", trainer.fit, x, y, epochs=-1)
        self.assert_refused("steps = -1", trainer.fit, x, y, steps=-1)
        self.assertEqual(trainer.fit(x, y, epochs=0), {})

    def test_the_processor_is_left_as_it_was(self):
        tiny = torch.tensor([2e-308], dtype=torch.float64)
        x, y = samples()
        self.trainer().fit(x, y)
        self.assertTrue(torch.is_grad_enabled())
        self.assertGreater(float(tiny / 16), 0)


class Programs(SampleCase):
    """The same bits as the programs."""

    def test_a_training_is_the_programs(self):
        x, y = pcxx.data.drawn_digits(256)
        cases = (
            ("bp", torch.float32, {"optimizer": "adam", "rescaling": "none"}, {}),
            (
                "pc",
                torch.float64,
                {"optimizer": "sgd", "rescaling": "decorrelation", "regularisation": 0.01},
                {"inference": "error_descent"},
            ),
            ("ipc", torch.float32, {"optimizer": "sgd", "rescaling": "alpha"}, {}),
        )
        for name, dtype, of_optimizer, of_rule in cases:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                keys = {"rule": name, **of_optimizer, **of_rule}
                errors, weights = self.run_program(Path(folder) / "run", keys, dtype)
                net = pcxx.Network([784, 20, 10], bias=True, init="lecun", dtype=dtype, seed=3)
                optimizer = pcxx.Optimizer(net, learning_rate=0.05, **of_optimizer)
                rule = pcxx.Rule(name, **({"inference_steps": 10} | of_rule))
                history = pcxx.fit(net, rule, optimizer, x, y, steps=12, batch_size=16, seed=3)
                self.assertEqual(history["train_error"].tolist(), errors)
                trained = pcxx.load(weights)
                self.assertIs(trained.dtype, dtype)
                for a, b in zip(net.parameters(), trained.parameters()):
                    self.assert_same(a, b)

    def run_program(self, out, keys, dtype):
        keys = {
            "dataset": "digits", "samples": 256, "test_samples": 16, "widths": [784, 20, 10], "seeds": [3], "steps": 12,
            "batch_size": 16, "learning_rate": 0.05, "test_every": 0, "dtype": str(dtype).removeprefix("torch."),
        } | keys  # fmt: skip
        words = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        program = _programs.program_path("classifier")
        subprocess.run([program, "--out", out, *words], check=True, capture_output=True, env=_programs.environment())
        with open(out / "metrics.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == "train_error"]
        (weights,) = out.glob("weights*.safetensors")
        return [float(row["value"]) for row in rows], weights


class Threads(SampleCase):
    def train(self, seed, steps=400):
        net = pcxx.Network([40, 100, 10], seed=seed)
        x, y = samples(200, 40, 10, seed)
        pcxx.fit(net, "pc", pcxx.Optimizer(net, learning_rate=0.01), x, y, steps=steps, batch_size=32, seed=seed)
        return net.parameters()

    def test_two_trainings_side_by_side(self):
        """They give what each gives alone, and leave the interpreter to others meanwhile."""
        alone = [self.train(seed) for seed in (1, 2)]
        found, ticks = {}, 0
        threads = [threading.Thread(target=lambda s=seed: found.update({s: self.train(s)})) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        while all(thread.is_alive() for thread in threads):
            ticks += 1
            time.sleep(0.001)
        for thread in threads:
            thread.join()
        self.assertGreater(ticks, 20)
        for seed, expected in zip((1, 2), alone):
            for a, b in zip(found[seed], expected):
                self.assert_same(a, b)

    def test_both_progress(self):
        """Each waits after its first epoch for the other's, which a held lock would never let begin."""
        first = {1: threading.Event(), 2: threading.Event()}
        met = {}

        def train(mine, other):
            def told(epoch, numbers):
                first[mine].set()
                met[mine] = first[other].wait(60)
                return False

            x, y = samples()
            net = network()
            pcxx.fit(net, "bp", pcxx.Optimizer(net, learning_rate=0.1), x, y, epochs=5, callback=told)

        threads = [threading.Thread(target=train, args=pair) for pair in ((1, 2), (2, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(met, {1: True, 2: True})

    def test_one_trainer_trains_once_at_a_time(self):
        net, (x, y) = network(), samples()
        trainer = pcxx.Trainer(net, "bp", pcxx.Optimizer(net, learning_rate=0.1))
        with self.assertRaisesRegex(pcxx.UserError, "at work already"):
            trainer.fit(x, y, epochs=2, callback=lambda epoch, numbers: trainer.step(x, y))
        trainer.step(x, y)


class Interruptions(SampleCase):
    def setUp(self):
        self.net = network()
        self.x, self.y = samples()
        self.trainer = pcxx.Trainer(self.net, "bp", pcxx.Optimizer(self.net, learning_rate=1e-3))

    def test_ctrl_c_ends_a_training_between_two_steps(self):
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            self.trainer.fit(self.x, self.y, steps=100_000_000)
        timer.join()
        self.assertTrue(self.net.parameters()[0].isfinite().all())
        self.trainer.fit(self.x, self.y, steps=3)

    def test_exceptions_of_the_callback_come_through(self):
        def fail(epoch, numbers):
            raise ZeroDivisionError(epoch)

        try:
            self.trainer.fit(self.x, self.y, epochs=3, callback=fail)
        except ZeroDivisionError as error:
            names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        self.assertIn("fail", names)
        self.trainer.fit(self.x, self.y, steps=3)

    def test_the_callback_may_end_a_training(self):
        for answer, steps in ((False, 2), (None, 5), (True, 5)):
            history = self.trainer.fit(
                self.x, self.y, steps=5, batch_size=7, callback=lambda e, n, a=answer: a if e == 1 else None
            )
            self.assertEqual(len(history["train_error"]), steps)

    def test_the_callback_has_gradients(self):
        seen = []
        self.trainer.fit(self.x, self.y, callback=lambda e, n: seen.append(self.net(self.x).requires_grad))
        self.assertEqual(seen, [True])


class Memory(SampleCase):
    def test_ten_thousand_calls_leave_nothing(self):
        net, (x, y) = network(), samples()
        rule, optimizer = pcxx.Rule("pc"), pcxx.Optimizer(net, learning_rate=1e-6)
        array = x.numpy()

        def call(times):
            for _ in range(times):
                step = rule.factors(net, array, y)
                optimizer.step(step)
                net(x), net.predict(x), step.layers, net.layers, step.report

        call(1000)
        gc.collect()
        before = self.resident()
        objects = len(gc.get_objects())
        call(10_000)
        gc.collect()
        self.assertLess(self.resident() - before, 8e6)  # a step's tensors are 2 kB
        self.assertLess(len(gc.get_objects()) - objects, 100)

    def test_networks_and_trainers_are_freed(self):
        x, y = samples()

        def make(times):
            for _ in range(times):
                net = pcxx.Network([3, 20000, 2])
                trainer = pcxx.Trainer(net, "bp", pcxx.Optimizer(net, learning_rate=0.1, rescaling=Doubled()))
                trainer.step(x, y)

        make(5)
        gc.collect()
        before = self.resident()
        make(40)  # of 800 kB each, and their gradients
        gc.collect()
        self.assertLess(self.resident() - before, 2e7)

    def resident(self):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Package(SampleCase):
    def python(self, text, **environment):
        script = textwrap.dedent(text)
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ | environment
        )

    def test_imports_before_and_after_torch(self):
        use = "print(pcxx.Network([2, 1])(torch.ones(1, 2, dtype=torch.float64)).shape)"
        for imports in ("import pcxx, torch", "import torch, pcxx"):
            found = self.python(f"{imports}\n{use}")
            self.assertEqual(found.stdout, "torch.Size([1, 1])\n", found.stderr)

    def test_another_torch_is_one_sentence(self):
        with tempfile.TemporaryDirectory() as folder:
            info = Path(folder) / "torch-2.12.1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.12.1+cpu\n")
            path = os.pathsep.join([folder, *filter(None, sys.path)])
            found = self.python("import pcxx", PYTHONPATH=path)
        self.assertEqual(
            found.stderr.splitlines()[-1],
            "ImportError: pcxx needs torch 2.13, not 2.12.1+cpu: pip install 'torch==2.13.*'",
        )

    def test_one_series_of_torch_everywhere(self):
        project = tomllib.loads((SOURCE / "pyproject.toml").read_text())
        pin = f"torch=={_programs.TORCH_SERIES}.*"
        self.assertIn(pin, project["project"]["dependencies"])
        self.assertIn(pin, project["build-system"]["requires"])
        self.assertEqual(_core.torch_series, _programs.TORCH_SERIES)

    def test_all_is_documented(self):
        for name in pcxx.__all__:
            thing = getattr(pcxx, name)
            if callable(thing):
                self.assertTrue(thing.__doc__, name)
            for own in vars(thing).items() if isinstance(thing, type) else ():
                if not own[0].startswith("_") and (callable(own[1]) or isinstance(own[1], property)):
                    self.assertTrue(own[1].__doc__, f"{name}.{own[0]}")

    def test_programs_are_found(self):
        self.assertTrue(_programs.program_path("pcxx-regression").is_file())
        with self.assertRaisesRegex(ValueError, "there is no program 'nothing'"):
            _programs.program_path("nothing")

    def test_types(self):
        try:
            import mypy  # noqa: F401
        except ImportError:
            self.skipTest("no mypy")
        package = Path(pcxx.__file__).parent
        user = """
            import numpy as np
            import torch

            import pcxx

            net = pcxx.Network([3, 2], activation="relu", dtype=torch.float32)
            x = np.zeros((4, 3))
            history: dict[str, torch.Tensor] = pcxx.fit(net, "kpc", None, x, torch.zeros(4, 2), epochs=1)
            step = pcxx.Rule("pc").factors(net, x, [[1.0, 2.0]] * 4)
            weight: torch.Tensor | None = step.layers[0].bias
            print(pcxx.accuracy(net, x, [0, 1, 0, 1]) + 1, history, weight)
        """
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "user.py").write_text(textwrap.dedent(user))
            options = ["--strict", "--config-file", SOURCE / "pyproject.toml", "--cache-dir", Path(folder) / "cache"]
            for what in (["-p", "pcxx"], ["user.py"]):
                found = subprocess.run(
                    [sys.executable, "-m", "mypy", *options, *what],
                    cwd=folder,
                    text=True,
                    capture_output=True,
                    check=False,
                    env=os.environ | {"MYPYPATH": str(package.parent)},
                )
                self.assertEqual(found.returncode, 0, found.stdout + found.stderr)


if __name__ == "__main__":
    unittest.main()
