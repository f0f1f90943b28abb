"""What the timings of one training step of the autoencoder 784-128-32-128-784 share."""

import argparse
import json
import statistics
import time

import torch
from pytorch_step import STEPS, WIDTHS

BATCHES = (1, 64)


def arguments(description):
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, metavar="FOLDER")
    parser.add_argument("--step-size", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=0.05, help="of the weights, in the check")
    parser.add_argument("--repetitions", type=int, default=300)
    return parser


def measure(library, way, make_step, arguments):
    """A JSON line a batch size; `make_step(rate, batch)` gives the step and the loss of (x, y)."""
    torch.set_num_threads(1)
    for batch in BATCHES:
        torch.manual_seed(0)
        x = torch.sigmoid(torch.randn(batch, 8) @ torch.randn(8, WIDTHS[0]))
        step, loss = make_step(arguments.rate, batch)
        before = loss(x, x)
        for _ in range(200):
            step(x, x)
        after = loss(x, x)
        assert after < 0.9 * before, (before, after)

        step, _ = make_step(0.0, batch)
        for _ in range(20):
            step(x, x)
        times = []
        for _ in range(arguments.repetitions):
            start = time.process_time()
            step(x, x)
            times.append(1e3 * (time.process_time() - start))
        print(json.dumps({
            "library": library, "way": way, "batch": batch, "steps": STEPS,
            "ms_minimum": round(min(times), 3), "ms_median": round(statistics.median(times), 3),
            "loss_before": round(before, 3), "loss_after_200_steps": round(after, 3)}), flush=True)
