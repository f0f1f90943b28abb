#!/usr/bin/env python3
"""What Python adds to a training: processor time of one epoch of MNIST (or of as many drawn digits), batches of 64, in one
thread, in C++ and step by step from Python. With the package on PYTHONPATH."""

import argparse
import time

import pcxx
import torch


def images(samples):
    try:
        x, y = pcxx.data.mnist()
    except pcxx.UserError:
        x, y = pcxx.data.drawn_digits(samples)
    return x[:samples], y[:samples]


def new_training(rule):
    net = pcxx.Network([784, 128, 10], activation="relu", bias=True, dtype=torch.float32)
    return net, pcxx.Rule(rule), pcxx.Optimizer(net, "adam", learning_rate=1e-3)


def whole_fit(rule, x, y):
    pcxx.fit(*new_training(rule), x, y)


def step_by_step(rule, x, y):
    trainer = pcxx.Trainer(*new_training(rule))
    for rows in torch.randperm(len(x)).split(64):
        trainer.step(x[rows], y[rows])


def factors_and_optimizer(rule, x, y):
    net, learner, optimizer = new_training(rule)
    for rows in torch.randperm(len(x)).split(64):
        optimizer.step(learner.factors(net, x[rows], y[rows]))


class Same:
    """A rescaling in Python that changes nothing."""

    def directions(self, layers):
        return [
            (layer.error.T @ layer.presynaptic / layer.samples, layer.error.sum(0) / layer.samples) for layer in layers
        ]


def rescaling_in_python(rule, x, y):
    net, learner, _ = new_training(rule)
    pcxx.fit(net, learner, pcxx.Optimizer(net, "adam", learning_rate=1e-3, rescaling=Same()), x, y)


def autograd(rule, x, y):
    """The same by backpropagation in torch."""
    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    targets = torch.nn.functional.one_hot(y, 10).float()
    for rows in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        (0.5 * (targets[rows] - model(x[rows].float() / 255)).square().sum(1).mean()).backward()
        optimizer.step()


def seconds(way, rule, x, y, repeats):
    """The least processor time of some repeats."""
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        way(rule, x, y)
        found.append(time.process_time() - begin)
    return min(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=60000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, y = images(options.samples)
    ways = {
        "pcxx.fit": whole_fit,
        "trainer.step for each batch": step_by_step,
        "rule.factors and optimizer.step": factors_and_optimizer,
        "pcxx.fit, a rescaling in Python": rescaling_in_python,
    }
    print(f"{'seconds of ' + str(len(x)) + ' samples':35} {'bp':>8} {'pc':>8}")
    for name, way in ways.items():
        print(f"{name:35}", *(f"{seconds(way, rule, x, y, options.repeats):8.2f}" for rule in ("bp", "pc")))
    print(f"{'torch with autograd':35} {seconds(autograd, '', x, y, options.repeats):8.2f}")


if __name__ == "__main__":
    main()
