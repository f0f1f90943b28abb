#!/usr/bin/env python3
"""One training step of LeNet-5 by the public ePC code in PyTorch: T steps of error descent, then SGD
on the weights; B = 64, squared error, float32, one core.

ePC (github.com/cgoemaere/error_based_PC, Apache-2.0) is run from a checkout of its own; it needs
PyTorch and Lightning, whose classes it extends:

    python3 -m venv peers-env
    peers-env/bin/pip install torch lightning
    taskset -c 0 peers-env/bin/python benchmarks/peers/convolution_epc.py --source FOLDER

FOLDER is the checkout. Its class takes any layers; these predict the pooled maps, as its own
network for CIFAR-10 does. The step is its own `training_step`, called without Lightning's Trainer
and with its log calls empty. A JSON line each T: least milliseconds a step, after some steps on one
batch have shown that it learns.
"""
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import checkout
import lenet
import torch
from torch import nn


def make_layers():
    return [
        nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(400, 120), nn.ReLU()),
        nn.Sequential(nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, lenet.CLASSES),
    ]


def make_step(PCE, T, rate, arguments):
    torch.manual_seed(0)
    x, y = map(torch.from_numpy, lenet.batch())
    pce = PCE(make_layers(), iters=T, e_lr=arguments.step_size, w_lr=rate)
    pce.batch_size = len(x)
    optimizer = torch.optim.SGD(pce.parameters(), lr=rate, fused=True)

    def step():
        optimizer.zero_grad()
        pce.training_step({"img": x, "y": y}, 0).backward()
        optimizer.step()

    def loss():
        with torch.no_grad():
            pce.forward(x)  # no target: all errors are zero
            return pce.class_loss(pce.y_pred(x), y).item() / len(x)

    return step, loss


def main():
    arguments = lenet.arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    PCE = checkout.epc(arguments.source)
    name = f"ePC {checkout.commit(arguments.source)}, PyTorch {torch.__version__}"
    for T in arguments.steps:
        lenet.measure(name, "eager", T, lambda rate, T=T: make_step(PCE, T, rate, arguments), arguments)


if __name__ == "__main__":
    main()
