#!/usr/bin/env python3
"""One epoch of MNIST by backpropagation in PyTorch, as a plain loop: 784-256-256-10, ReLU, linear
output, no biases, 0.5 |y - one-hot|^2, B = 128, float32, one core, the samples in memory.

    taskset -c 0 .venv/bin/python benchmarks/peers/classifier_torch.py --data FOLDER

FOLDER holds mnist/ with the four IDX files, plain or gzipped. A JSON line an optimiser and rate:
processor seconds of the epoch (shuffling included, testing not) and test accuracy after it.
The default rates are the best of 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5 (SGD) and 0.0005, 0.001, 0.002,
0.003 (Adam) by that accuracy. torch.compile of the loss makes it no faster.
"""
import argparse
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import mnist
import torch


def make_layers():
    linear = [torch.nn.Linear(n_in, n_out, bias=False)
              for n_in, n_out in zip(mnist.WIDTHS, mnist.WIDTHS[1:])]
    return [torch.nn.Sequential(layer, torch.nn.ReLU()) for layer in linear[:-1]] + [linear[-1]]


def load(folder):
    """The training samples with one-hot labels, and the test samples."""
    (pixels, labels), test = mnist.load(folder)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels)).float()
    return (torch.from_numpy(pixels), one_hot), tuple(map(torch.from_numpy, test))


def run(kind, rate, seed, train, test):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(*make_layers())
    optimizer = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[kind](
        network.parameters(), lr=rate, fused=True)

    def loss(x, y):
        return 0.5 * (network(x) - y).square().sum() / len(x)

    with mnist.Clock() as clock:
        for rows in torch.from_numpy(mnist.shuffled(len(train[0]), seed)):
            optimizer.zero_grad()
            loss(train[0][rows], train[1][rows]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (network(test[0]).argmax(1) == test[1]).float().mean().item()
    return clock.processor, clock.wall, accuracy


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sgd", type=float, nargs="*", default=[0.7], metavar="RATE")
    parser.add_argument("--adam", type=float, nargs="*", default=[0.002], metavar="RATE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, test = load(arguments.data)
    for kind, rates in (("SGD", arguments.sgd), ("Adam", arguments.adam)):
        for rate in rates:
            runs = [run(kind, rate, seed, train, test) for seed in range(arguments.seeds)]
            mnist.summary(runs, library=f"PyTorch {torch.__version__}", rule="backpropagation",
                          optimiser=kind, rate=rate)


if __name__ == "__main__":
    main()
