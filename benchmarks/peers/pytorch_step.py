#!/usr/bin/env python3
"""One training step of the autoencoder 784-128-32-128-784 as a PyTorch user would write it, float32,
one core: backpropagation, and predictive coding by 20 steps of error descent, both by autograd.

    taskset -c 0 .venv/bin/python benchmarks/peers/pytorch_step.py
"""
import itertools
import statistics
import time

import torch

WIDTHS, STEPS, STEP_SIZE, REPETITIONS = (784, 128, 32, 128, 784), 20, 0.1, 60


def make_layers():
    layers = []
    for n_in, n_out in itertools.pairwise(WIDTHS):
        last = len(layers) == len(WIDTHS) - 2
        linear = torch.nn.Linear(n_in, n_out, bias=False)
        layers.append(torch.nn.Sequential(linear, torch.nn.Sigmoid() if last else torch.nn.ReLU()))
    return torch.nn.Sequential(*layers)


def backpropagation(layers, optimizer, x, y):
    optimizer.zero_grad()
    (0.5 * (y - layers(x)).square().sum() / len(x)).backward()
    optimizer.step()


def energy(layers, errors, x, y):
    for layer, error in zip(layers, errors):
        x = layer(x) + error
    return 0.5 * ((y - layers[-1](x)).square().sum() + sum(e.square().sum() for e in errors))


def predictive_coding(layers, optimizer, x, y):
    errors = [torch.zeros(len(x), n, requires_grad=True) for n in WIDTHS[1:-1]]
    for _ in range(STEPS):
        gradients = torch.autograd.grad(energy(layers, errors, x, y), errors)
        with torch.no_grad():
            for error, gradient in zip(errors, gradients):
                error -= STEP_SIZE * gradient
    optimizer.zero_grad()
    loss = 0
    for layer, error in zip(layers, errors):  # each layer learns from its own error alone
        prediction = layer(x)
        x = (prediction + error).detach()
        loss = loss + 0.5 * (x - prediction).square().sum()
    loss = loss + 0.5 * (y - layers[-1](x)).square().sum()
    (loss / len(x)).backward()
    optimizer.step()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"PyTorch {torch.__version__}; µs of processor time a step")
    print("| batch | rule | minimum | median |\n| ---: | --- | ---: | ---: |")
    for batch_size in (1, 64):
        layers = make_layers()
        optimizer = torch.optim.SGD(layers.parameters(), lr=0.0)
        x, y = torch.rand(2, batch_size, WIDTHS[0])
        for rule in (backpropagation, predictive_coding):
            times = []
            for _ in range(REPETITIONS):
                start = time.process_time()
                rule(layers, optimizer, x, y)
                times.append(1e6 * (time.process_time() - start))
            name = rule.__name__.replace("_", " ")
            print(f"| {batch_size} | {name} | {min(times):.0f} | {statistics.median(times):.0f} |")


if __name__ == "__main__":
    main()
