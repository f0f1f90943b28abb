#!/usr/bin/env python3
"""Tests of pcxx.sklearn: scikit-learn's own checks, and trainings that are made by hand with the library."""

import copy
import os
import pickle
import sys
import unittest
import warnings

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # or a check is left out

try:
    from sklearn.base import clone
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.estimator_checks import check_estimator
except ImportError as error:
    print(f"skipped, as there is no scikit-learn: {error}")
    sys.exit(77)
import numpy as np
import pcxx
import torch
from pcxx.sklearn import PCClassifier, PCRegressor


def digits(count=300):
    """8 x 8 pixels in [0, 1], and labels."""
    x, y = load_digits(return_X_y=True)
    return x[:count] / 16, y[:count]


def teacher(count=50):
    """Inputs, and two targets that are linear in them."""
    x = np.random.default_rng(0).normal(size=(count, 3))
    return x, x @ np.array([[1.0, 0.5], [-1.0, 2.0], [0.3, 0.0]]) + 0.1


class Checks(unittest.TestCase):
    """Oracle: scikit-learn's checks of estimators."""

    def check(self, estimator):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = check_estimator(estimator, on_fail=None, on_skip=None)
        self.assertGreater(len(results), 40)
        for result in results:
            with self.subTest(check=result["check_name"]):
                self.assertIn(result["status"], ("passed", "skipped"), repr(result["exception"]))
        self.assertLessEqual(sum(result["status"] == "skipped" for result in results), 1)

    def test_classifier(self):
        self.check(PCClassifier())

    def test_regressor(self):
        self.check(PCRegressor())

    def test_kalman_classifier(self):
        self.check(PCClassifier(rule="kpc"))

    def test_kalman_regressor(self):
        self.check(PCRegressor(rule="kpc"))

    def test_backpropagation(self):
        self.check(PCClassifier(rule="bp", loss="squared_error"))


class AsByHand(unittest.TestCase):
    """Oracle: the same training with pcxx.Trainer, bit by bit."""

    def weights(self, network):
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    def network(self, model, widths, loss):
        seed = model._seed
        return pcxx.Network(widths, architecture="relu", activation="relu", bias=True, loss=loss, seed=seed)

    def test_fit(self):
        x, y = digits()
        model = PCClassifier(
            (16,), epochs=3, random_state=7, optimizer="sgd", learning_rate=0.2, rescaling="projection"
        )
        model.fit(x, y)
        net = self.network(model, [64, 16, 10], "cross_entropy")
        optimizer = pcxx.Optimizer(net, "sgd", learning_rate=0.2, rescaling="projection")
        history = pcxx.Trainer(net, "pc", optimizer).fit(x, y, epochs=3, seed=model._seed)
        self.assertTrue(torch.equal(self.weights(net), self.weights(model.network_)))
        np.testing.assert_array_equal(model.history_["train_error"], history["train_error"])
        self.assertEqual(len(history["train_error"]), -(-3 * 300 // 64))

    def test_partial_fit_without_a_learning_rate(self):
        x, y = digits(30)
        model = PCClassifier((16,), rule="kpc", random_state=0)
        other = PCClassifier((16,), rule="kpc", random_state=0, learning_rate=1e6)
        for begin in range(0, 30, 7):
            part = slice(begin, begin + 7)
            model.partial_fit(x[part], y[part], classes=range(10))
            other.partial_fit(x[part], y[part], classes=range(10))
        net = self.network(model, [64, 16, 10], "cross_entropy")
        trainer = pcxx.Trainer(net, "kpc")
        for i in range(30):
            trainer.step(x[i : i + 1], y[i : i + 1])
        self.assertTrue(torch.equal(self.weights(net), self.weights(model.network_)))
        self.assertTrue(torch.equal(self.weights(net), self.weights(other.network_)))

    def test_partial_fit_takes_each_sample_once(self):
        x, y = teacher(10)
        model = PCRegressor((4,), batch_size=4, optimizer="sgd", random_state=0).partial_fit(x, y)
        net = self.network(model, [3, 4, 2], "squared_error")
        trainer = pcxx.Trainer(net, "pc", pcxx.Optimizer(net, "sgd", learning_rate=0.01))
        errors = [trainer.step(x[part], y[part])["train_error"] for part in (slice(0, 4), slice(4, 8), slice(8, 10))]
        self.assertTrue(torch.equal(self.weights(net), self.weights(model.network_)))
        self.assertEqual(model.history_["train_error"].tolist(), errors)

    def test_a_pickled_stream_goes_on(self):
        x, y = digits(60)
        model = PCClassifier((8,), rule="kpc").partial_fit(x[:20], y[:20], classes=range(10))
        for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            copied.partial_fit(x[20:40], y[20:40])
            again = pickle.loads(pickle.dumps(model)).partial_fit(x[20:40], y[20:40])
            self.assertTrue(torch.equal(self.weights(copied.network_), self.weights(again.network_)))
            self.assertFalse(torch.equal(self.weights(copied.network_), self.weights(model.network_)))
        before = self.weights(model.network_).clone()
        model.partial_fit(x[20:40], y[20:40])
        self.assertTrue(torch.equal(self.weights(copied.network_), self.weights(model.network_)))
        self.assertFalse(torch.equal(before, self.weights(model.network_)))


class Outcomes(unittest.TestCase):
    def test_probabilities(self):
        """Oracle: torch's softmax of the same network in torch."""
        x, y = digits()
        names = np.array(list("jihgfedcba"))
        model = PCClassifier((16,), epochs=20).fit(x, names[y])
        self.assertEqual(model.classes_.tolist(), sorted(names))
        logits = model.network_.to_torch()(torch.from_numpy(x))
        found = model.predict_proba(x)
        np.testing.assert_allclose(found, torch.softmax(logits, 1).detach(), atol=1e-12)
        np.testing.assert_array_equal(model.predict(x), np.array(sorted(names))[found.argmax(1)])
        self.assertGreater(model.score(x, names[y]), 0.9)

    def test_probabilities_need_a_softmax(self):
        self.assertTrue(hasattr(PCClassifier(), "predict_proba"))
        self.assertFalse(hasattr(PCClassifier(loss="squared_error"), "predict_proba"))
        net = pcxx.Network([2, 2], loss="binary_cross_entropy")
        self.assertFalse(hasattr(PCClassifier(network=net), "predict_proba"))

    def test_targets_of_one_and_of_two_dimensions(self):
        """Oracle: the teacher."""
        x, y = teacher()
        both = PCRegressor((), activation="identity", learning_rate=0.1, epochs=300).fit(x, y)
        self.assertEqual(both.predict(x).shape, (50, 2))
        np.testing.assert_allclose(both.predict(x), y, atol=1e-2)
        one = PCRegressor((), activation="identity", learning_rate=0.1, epochs=300).fit(x, y[:, 0])
        self.assertEqual(one.predict(x).shape, (50,))
        np.testing.assert_allclose(one.predict(x), y[:, 0], atol=1e-2)

    def test_a_stream_is_learnt(self):
        """Oracle: chance is 10 %; one pass, one sample at a time, without a learning rate."""
        x, y = digits(1797)
        model = PCClassifier((32,), rule="kpc", random_state=0)
        for i in range(1000):
            model.partial_fit(x[i : i + 1], y[i : i + 1], classes=range(10))
        self.assertGreater(model.score(x[1000:], y[1000:]), 0.8)
        self.assertEqual(len(model.history_["train_error"]), 1)

    def test_a_number_of_units_is_one_hidden_layer(self):
        x, y = teacher()
        self.assertEqual(PCRegressor(5, epochs=1).fit(x, y).network_.widths, [3, 5, 2])
        self.assertEqual(PCRegressor((), epochs=1).fit(x, y).network_.widths, [3, 2])

    def test_in_pipelines_and_searches(self):
        x, y = digits(120)
        pipeline = make_pipeline(StandardScaler(), PCClassifier((8,), epochs=3, random_state=0))
        search = GridSearchCV(
            pipeline, {"pcclassifier__rule": ["bp", "pc"], "pcclassifier__learning_rate": [1e-6, 0.05]}, cv=2
        )
        search.fit(x, y)
        self.assertEqual(search.best_params_["pcclassifier__learning_rate"], 0.05)

    def test_a_network_to_start_from(self):
        layers = "conv2d(channels=2, kernel=3, stride=2, activation=relu) dense"
        net = pcxx.Network([64, 10], layers=layers.replace("kernel=3", "kernel=3, input=1x8x8"), loss="cross_entropy")
        before = torch.cat([parameter.flatten() for parameter in net.parameters()])
        x, y = digits()
        model = PCClassifier(network=net, epochs=5).fit(x, y)
        self.assertTrue(torch.equal(torch.cat([parameter.flatten() for parameter in net.parameters()]), before))
        self.assertEqual(repr(clone(model).network), repr(net))
        self.assertGreater(model.score(x, y), 0.5)
        with self.assertRaisesRegex(pcxx.UserError, "network has 64 inputs and 10 outputs, not 64 and 9"):
            model.fit(x[y < 9], y[y < 9])

    def test_parts_of_ones_own(self):
        """Oracle: twice the direction at half the rate is the same training."""

        class Twice:
            def directions(self, layers):
                return [2 / layer.samples * layer.error.T @ layer.presynaptic for layer in layers]

        x, y = teacher()
        own = PCRegressor((4,), bias=False, optimizer="sgd", learning_rate=0.01, rescaling=Twice(), random_state=0)
        plain = PCRegressor((4,), bias=False, optimizer="sgd", learning_rate=0.02, random_state=0)
        np.testing.assert_allclose(own.fit(x, y).predict(x), plain.fit(x, y).predict(x), atol=1e-10)
        rule = pcxx.Rule("pc", inference="error_descent", inference_steps=3)
        by_keys = PCRegressor((4,), rule_keys={"inference": "error_descent", "inference_steps": 3}, random_state=0)
        by_rule = PCRegressor((4,), rule=rule, random_state=0)
        np.testing.assert_array_equal(by_keys.fit(x, y).predict(x), by_rule.fit(x, y).predict(x))
        self.assertFalse(np.array_equal(by_rule.predict(x), PCRegressor((4,), random_state=0).fit(x, y).predict(x)))


class Refusals(unittest.TestCase):
    def refused(self, sentence):
        return self.assertRaisesRegex(pcxx.UserError, sentence)

    def test_classes_of_a_stream(self):
        x, y = digits(20)
        with self.refused("classes must be given in the first call"):
            PCClassifier().partial_fit(x, y)
        with self.refused("y has a label 3, which is none of the classes"):
            PCClassifier().partial_fit(x, y, classes=[0, 1, 2])
        model = PCClassifier().partial_fit(x, y, classes=range(10))
        with self.refused("are not those of the first call"):
            model.partial_fit(x, y, classes=range(11))

    def test_keys(self):
        x, y = digits(20)
        with self.refused("nodging"):
            PCClassifier(rule_keys={"nodging": 1}).fit(x, y)
        with self.refused("hebb"):
            PCClassifier(rule="hebb").fit(x, y)
        for learn in (PCClassifier(batch_size=0).fit, PCRegressor(batch_size=0).partial_fit):
            with self.refused("batch_size = 0 is not at least 1"):
                learn(x, y)

    def test_a_training_that_diverges(self):
        x, y = teacher()
        with self.refused("diverged with learning_rate = 10000"):
            PCRegressor(rule="bp", optimizer="sgd", learning_rate=10000.0).fit(x, y)


if __name__ == "__main__":
    unittest.main()
