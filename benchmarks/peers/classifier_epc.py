#!/usr/bin/env python3
"""One epoch of MNIST by the public ePC code in PyTorch: 784-256-256-10, ReLU, linear output, no
biases, squared error to one-hot labels, B = 128, T = 5 and 20 steps of error descent, then Adam on
the weights, as it ships; float32, one core, the samples in memory.

ePC (github.com/cgoemaere/error_based_PC, Apache-2.0) is run from a checkout of its own; it needs
PyTorch and Lightning, whose classes it extends:

    python3 -m venv peers-env
    peers-env/bin/pip install torch lightning
    taskset -c 0 peers-env/bin/python benchmarks/peers/classifier_epc.py --source EPC --data FOLDER

EPC is the checkout. FOLDER holds mnist/ with the four IDX files, plain or gzipped. The step is
ePC's own `training_step`, called without Lightning's Trainer and with its log calls empty. A JSON
line each: processor seconds of an epoch (shuffling included, testing not) and test accuracy after
it, over seeds. The default step sizes and rate are the best by that accuracy of some tried: sizes
from 0.001 (T = 20) or 0.003 (T = 5) to 0.3, rates 0.0003 (T = 20), 0.001, 0.002. torch.compile of
the energy makes it no faster.
"""
import argparse
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import checkout
import mnist
import torch
from classifier_torch import load, make_layers


def run(PCE, T, step_size, rate, seed, train, test):
    torch.manual_seed(seed)
    pce = PCE(make_layers(), iters=T, e_lr=step_size, w_lr=rate)
    pce.batch_size = mnist.BATCH
    optimizer = torch.optim.Adam(pce.parameters(), lr=rate, fused=True)
    with mnist.Clock() as clock:
        for rows in torch.from_numpy(mnist.shuffled(len(train[0]), seed)):
            optimizer.zero_grad()
            pce.training_step({"img": train[0][rows], "y": train[1][rows]}, 0).backward()
            optimizer.step()
    with torch.no_grad():
        pce.forward(test[0])  # no target: all errors are zero
        accuracy = (pce.y_pred(test[0]).argmax(1) == test[1]).float().mean().item()
    return clock.processor, clock.wall, accuracy


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, metavar="FOLDER")
    parser.add_argument("--data", required=True, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 20], metavar="T")
    parser.add_argument("--step-sizes", type=float, nargs="+", default=[0.003, 0.001],
                        metavar="SIZE", help="one for each T")
    parser.add_argument("--rate", type=float, default=0.002)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, test = load(arguments.data)
    PCE = checkout.epc(arguments.source)
    for T, step_size in zip(arguments.steps, arguments.step_sizes, strict=True):
        runs = [run(PCE, T, step_size, arguments.rate, seed, train, test)
                for seed in range(arguments.seeds)]
        mnist.summary(
            runs, library=f"ePC {checkout.commit(arguments.source)}, PyTorch {torch.__version__}",
            rule="predictive coding", steps=T, step_size=step_size, optimiser="Adam",
            rate=arguments.rate)


if __name__ == "__main__":
    main()
