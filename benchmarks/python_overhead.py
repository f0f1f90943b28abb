#!/usr/bin/env python3
"""What Python costs: a table of the time of one call, and of an epoch of MNIST by pcxx.fit and by pcxx-classifier.

usage: PYTHONPATH=build/release/python OMP_NUM_THREADS=1 .venv/bin/python benchmarks/python_overhead.py [--repeats N]

Needs MNIST below PCXX_DATA_DIR. Both train ten epochs with the same bits, and neither measures more than the error of
each batch. Of the program an epoch is its run less a run without steps, so that neither counts loading LibTorch and the
images. Runs take turns; `more` is the median of the pairs' ratios, with the smallest and the largest: on a busy machine
these lie far apart, and the table then says little."""

import argparse
import statistics
import subprocess
import tempfile
import time

import pcxx
import torch
from pcxx._programs import environment, program_path

WIDTHS, BATCH, IMAGES, EPOCHS = [784, 128, 10], 64, 60_000, 10


def smallest(repeats, function):
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def calls(repeats):
    """Of a network so small that arithmetic counts little, in microseconds."""
    net = pcxx.Network([4, 4, 2])
    module = net.to_torch()
    x, y = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    rule, optimizer = pcxx.Rule("bp"), pcxx.Optimizer(net, learning_rate=1e-3)
    trainer = pcxx.Trainer(net, "bp", pcxx.Optimizer(net, learning_rate=1e-3))
    descent = torch.optim.SGD(module.parameters(), 1e-3)

    def torch_step():
        descent.zero_grad()
        (0.5 * (module(x) - y).square().sum()).backward()
        descent.step()

    rows = [
        ("net(x)", lambda: net(x)),
        ("torch: module(x)", lambda: module(x)),
        ("optimizer.step(rule.factors(net, x, y))", lambda: optimizer.step(rule.factors(net, x, y))),
        ("trainer.step(x, y)", lambda: trainer.step(x, y)),
        ("torch: backward and SGD", torch_step),
    ]
    count = 1000
    for name, function in rows:
        yield name, smallest(repeats, lambda f=function: [f() for _ in range(count)]) / count * 1e6


def run_program(rule, steps):
    keys = {
        "dataset": "mnist", "rule": rule, "widths": WIDTHS, "bias": "false", "init": "kaiming", "seeds": 1, "test_every": 0,
        "learning_rate": 0.1, "batch_size": BATCH, "steps": steps, "test_samples": 100, "threads": 1, "measure": "[]",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        words = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        command = [program_path("classifier"), "--out", f"{folder}/run", *words]
        subprocess.run(command, check=True, capture_output=True, env=environment() | {"PCXX_PYTHON": "/none"})


def epochs(repeats):
    """Of the program and of pcxx.fit, in seconds an epoch, of each repeat."""
    x, y = pcxx.data.mnist()
    steps = (EPOCHS * IMAGES + BATCH - 1) // BATCH
    for rule in ("bp", "pc"):

        def fit(rule=rule):
            net = pcxx.Network(WIDTHS, dtype=torch.float32)
            made = pcxx.Rule(rule, inference_steps=10) if rule == "pc" else rule
            pcxx.fit(net, made, pcxx.Optimizer(net, learning_rate=0.1), x, y, epochs=EPOCHS, batch_size=BATCH)

        program, python = [], []
        for _ in range(repeats):
            full = smallest(1, lambda r=rule: run_program(r, steps))
            python.append(smallest(1, fit) / EPOCHS)
            program.append((full - smallest(1, lambda r=rule: run_program(r, 0))) / EPOCHS)
        yield rule, program, python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("| call | us |\n| --- | --- |")
    for name, duration in calls(repeats):
        print(f"| {name} | {duration:.1f} |")
    print("\n| epoch of MNIST, B = 64 | pcxx-classifier, s | pcxx.fit, s | more, % |\n| --- | --- | --- | --- |")
    for rule, program, python in epochs(repeats):
        more = sorted(100 * (b / a - 1) for a, b in zip(program, python))
        spread = f"{statistics.median(more):+.1f} ({more[0]:+.1f} .. {more[-1]:+.1f})"
        print(f"| {rule} | {statistics.median(program):.3f} | {statistics.median(python):.3f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
