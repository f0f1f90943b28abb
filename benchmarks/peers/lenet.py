"""What the timings of one training step of LeNet-5 share."""

import argparse
import json
import time

import numpy as np

BATCH, CLASSES, CHECKED_STEPS = 64, 10, 100
IDLE_RATE = 1e-6  # of the weights while the step is timed: the network stays the one that is measured


def arguments(description):
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20], metavar="T")
    parser.add_argument("--step-size", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=0.6, help="of the weights, in the check")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one repetition, at least")
    return parser


def batch():
    """Images B x 1 x 28 x 28, each its class's pattern with noise, and one-hot targets B x 10."""
    random = np.random.default_rng(0)
    patterns = random.random((CLASSES, 1, 28, 28), dtype=np.float32)
    labels = random.integers(CLASSES, size=BATCH)
    noise = random.random((BATCH, 1, 28, 28), dtype=np.float32)
    return (patterns[labels] + 0.2 * noise) / 1.2 - 0.5, np.eye(CLASSES, dtype=np.float32)[labels]


def check(step, loss):
    """The mean loss before and after some steps: below that of any output that ignores the image."""
    _, y = batch()
    constant = 0.5 * np.square(y - y.mean(axis=0)).sum() / BATCH
    before = loss()
    for _ in range(CHECKED_STEPS):
        step()
    after = loss()
    assert after < 0.9 * min(before, constant), (before, after)
    return {"loss_before": round(before, 4), f"loss_after_{CHECKED_STEPS}_steps": round(after, 4)}


def repetition(step, seconds):
    """(processor, wall) milliseconds a step, mean of as many steps as fit."""
    count, wall, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        step()
        count += 1
    spent = time.process_time() - processor, time.perf_counter() - wall
    return tuple(1e3 * part / count for part in spent)


def measure(library, way, T, make_step, arguments):
    """Prints a JSON line; `make_step(rate)` gives the step and the mean loss of its network."""
    losses = check(*make_step(arguments.rate))
    step, _ = make_step(IDLE_RATE)
    for _ in range(3):
        step()
    times = [repetition(step, arguments.seconds) for _ in range(arguments.repetitions)]
    processor, wall = map(min, zip(*times, strict=True))
    print(json.dumps({
        "library": library, "way": way, "batch": BATCH, "steps": T,
        "ms_processor": round(processor, 3), "ms_wall": round(wall, 3), **losses}), flush=True)
