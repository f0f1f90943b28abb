#!/usr/bin/env python3
"""One training step of the autoencoder 784-128-32-128-784 (ReLU, sigmoid output, no biases) by the
library PredictiveCoding in PyTorch: T = 20 steps of state descent, then SGD on the weights;
float32, one core.

PredictiveCoding (github.com/Bogacz-Group/PredictiveCoding, without a licence) is run from a
checkout of its own, with what it imports:

    python3 -m venv peers-env
    peers-env/bin/pip install torch numpy pandas matplotlib seaborn tqdm
    taskset -c 0 peers-env/bin/python benchmarks/peers/inference_predictivecoding.py --source FOLDER

FOLDER is the checkout. The states are those after the activations, from the feed-forward pass; their
step size is 0.1, its default. It evaluates the energy T times and updates the weights with the last
of them (`update_p_at="last"`), so that the T-th step of the states comes too late for the weights.

  as shipped      `PCTrainer.train_on_batch` with its defaults: each of the T backward passes has
                  the weights' gradients too
  weights frozen  the same, the weights requiring no gradient before the last pass

Before the timing, steps at rate `--rate` on one batch show that it learns; the timing has rate 0.
"""
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import sys

import checkout
import steps
import torch
from pytorch_step import STEPS, make_layers


def squared_error(output, target):
    return 0.5 * (output - target).square().sum()


def make_step(pc, rate, frozen, step_size):
    network = torch.nn.Sequential()
    layers = make_layers()
    for layer in layers[:-1]:
        network.extend([layer, pc.PCLayer()])
    network.append(layers[-1])
    network.train()
    trainer = pc.PCTrainer(
        network,
        T=STEPS,
        optimizer_x_fn=torch.optim.SGD,
        optimizer_x_kwargs={"lr": step_size, "fused": True},
        update_p_at="last",
        optimizer_p_fn=torch.optim.SGD,
        optimizer_p_kwargs={"lr": rate, "fused": True},  # of the sum over the batch
    )
    weights = [layer[0].weight for layer in layers]

    def require_gradients(required):
        for weight in weights:
            weight.requires_grad_(required)

    def before_last(t):
        if t == STEPS - 2:
            require_gradients(True)

    def step(x, y):
        if frozen:
            require_gradients(False)
        trainer.train_on_batch(
            inputs=x,
            loss_fn=squared_error,
            loss_fn_kwargs={"target": y},
            callback_after_t=before_last if frozen else None,
        )

    def loss(x, y):
        network.eval()
        with torch.no_grad():
            found = squared_error(network(x), y).item() / len(x)
        network.train()
        return found

    return step, loss


def main():
    arguments = steps.arguments(__doc__).parse_args()
    sys.path.insert(0, arguments.source)
    import predictive_coding as pc

    name = f"PredictiveCoding {checkout.commit(arguments.source)}, PyTorch {torch.__version__}"
    for way, frozen in (("as shipped", False), ("weights frozen", True)):
        steps.measure(
            name, way,
            lambda rate, batch: make_step(pc, rate / batch, frozen, arguments.step_size), arguments)


if __name__ == "__main__":
    main()
