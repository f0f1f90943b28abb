#!/usr/bin/env python3
"""One training step of the autoencoder 784-128-32-128-784 (ReLU, sigmoid output, no biases) by the
public ePC code in PyTorch: T = 20 steps of error descent, then SGD on the weights; float32, one
core.

ePC (github.com/cgoemaere/error_based_PC, Apache-2.0) is run from a checkout of its own; it needs
PyTorch and Lightning, whose classes it extends:

    python3 -m venv peers-env
    peers-env/bin/pip install torch lightning
    taskset -c 0 peers-env/bin/python benchmarks/peers/inference_epc.py --source FOLDER

FOLDER is the checkout. The step is its own `training_step`, called without Lightning's Trainer and
with its log calls empty, so that nothing but the algorithm is timed. Its step size is 0.1, the
smaller of the two that its sweep tries. Before the timing, steps at rate `--rate` on one batch show
that it learns; the timing has rate 0: the same work on the same network. `--compile` compiles its
energy, which every step of the descent evaluates, by torch.compile.
"""
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import checkout
import steps
import torch
from pytorch_step import STEPS, make_layers


def make_step(PCE, rate, arguments):
    pce = PCE(make_layers(), iters=STEPS, e_lr=arguments.step_size, w_lr=rate)
    if arguments.compile:
        pce.E = torch.compile(pce.E, dynamic=False)
    optimizer = torch.optim.SGD(pce.parameters(), lr=rate, fused=True)

    def step(x, y):
        pce.batch_size = len(x)
        optimizer.zero_grad()
        loss = pce.training_step({"img": x, "y": y}, 0)
        loss.backward()
        optimizer.step()

    def loss(x, y):
        with torch.no_grad():
            pce.forward(x)  # no target: all errors are zero
            return pce.class_loss(pce.y_pred(x), y).item() / len(x)

    return step, loss


def main():
    parser = steps.arguments(__doc__)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    PCE = checkout.epc(arguments.source)
    name = f"ePC {checkout.commit(arguments.source)}, PyTorch {torch.__version__}"
    steps.measure(name, "compiled" if arguments.compile else "eager",
                  lambda rate, _: make_step(PCE, rate, arguments), arguments)


if __name__ == "__main__":
    main()
