#!/usr/bin/env python3
"""Time per member and training step of ensembles of small linear networks: pcxx's lane engine, its
tensor path, and the same work in JAX, PyTorch and JPC (peers/), in one process and interleaved.

    python3 -m venv peers-env
    peers-env/bin/pip install jax==0.5.2 torch git+https://github.com/thebuckleylab/jpc.git
    taskset -c 0 peers-env/bin/python benchmarks/ensembles.py build/release/bin/ensemble_benchmark

Networks are 20 wide with 1 and 8 hidden layers, the batch has 64 samples, there are 10 seeds with
100 rates each. Before anything is timed, every rival's error curves are compared with those of the
lane engine on the same teachers, samples, weights and rates. A number is the median of five
repetitions of processor time; JAX's is the best of several block sizes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
sys.path.insert(0, str(Path(__file__).parent / "peers"))

import ensembles_jax
import ensembles_jpc
import ensembles_torch
import jax
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
torch.set_num_threads(1)

SEEDS, WIDTH, BATCH, A = 10, 20, 64, 1e-4
RATES, STEPS = 100, 20
MODELS = [(rule, rescaling) for rescaling in ("none", "decorrelation") for rule in ("bp", "pc")]
BLOCKS = (10, 50, 100, 1000)  # members that JAX trains in one call
REPETITIONS = 5


class Task:
    def __init__(self, folder, hidden):
        def read(name, *shape):
            return np.fromfile(folder / name).reshape(shape)

        self.folder, self.hidden = folder, hidden
        self.maps = read(f"maps-{hidden}", SEEDS, WIDTH, WIDTH)
        self.inputs = read(f"inputs-{hidden}", STEPS, SEEDS, BATCH, WIDTH)
        self.weights = read(f"weights-{hidden}", hidden + 1, WIDTH, WIDTH)
        self.rates = read("rates", RATES)

    def errors(self, rule, rescaling):
        """Of the lane engine, [T + 1, S, K]."""
        name = f"errors-{rule} {rescaling}, {self.hidden} hidden"
        return np.fromfile(self.folder / name).reshape(STEPS + 1, SEEDS, RATES)

    def check(self, who, rule, rescaling, curves, seeds, rates, tolerance):
        """curves: [S, K, T + 1] of the first seeds and rates."""
        ours = self.errors(rule, rescaling)[:, :seeds, :rates].transpose(1, 2, 0)
        worst = np.max(np.abs(np.asarray(curves) - ours) / (np.abs(ours) + 1e-6))
        if worst > tolerance:
            sys.exit(f"{who}, {rule} {rescaling}, {self.hidden} hidden: curves differ by {worst}")


def jax_rivals(task, rule, rescaling, dtype, compressed):
    """{block: (call, members)}"""
    train = ensembles_jax.trainer(rule, rescaling, A, BATCH)
    rivals = {}
    for block in BLOCKS:
        seeds, rates = max(1, block // RATES), min(block, RATES)
        weights, maps, batches = ensembles_jax.arrange(task, dtype, seeds)
        if compressed:
            batches = ensembles_jax.moments(batches)
        some = jax.numpy.asarray(task.rates[:rates], dtype)
        args = (weights, maps, batches, some)
        curves = train(*args)
        name = f"JAX {dtype}{', moments' if compressed else ''}"
        task.check(name, rule, rescaling, curves, seeds, rates, 1e-7 if dtype == "float64" else 0.05)
        rivals[block] = (lambda args=args: jax.block_until_ready(train(*args)), block)
    return rivals


def torch_rivals(task, rule, rescaling, dtype):
    rivals = {}
    for block in (100, 1000):
        seeds = block // RATES
        kind = getattr(torch, dtype)
        seed = torch.arange(seeds).repeat_interleave(RATES)
        teacher = torch.tensor(task.maps, dtype=kind)[seed]
        batches = [torch.tensor(x, dtype=kind)[seed] for x in task.inputs]
        weights = [torch.tensor(w, dtype=kind).repeat(block, 1, 1) for w in task.weights]
        rates = torch.tensor(task.rates, dtype=kind).repeat(seeds).view(-1, 1, 1)
        args = (rule, rescaling, A, weights, teacher, batches, rates, BATCH)
        curves = ensembles_torch.train(*args).view(STEPS + 1, seeds, RATES).permute(1, 2, 0)
        task.check("PyTorch", rule, rescaling, curves, seeds, RATES,
                   1e-7 if dtype == "float64" else 0.05)
        rivals[block] = (lambda args=args: ensembles_torch.train(*args), block)
    return rivals


def jpc_rivals(task, way):
    model = ensembles_jpc.make_model(task.weights, "float64")
    teacher = jax.numpy.asarray(task.maps[0])
    batches = jax.numpy.asarray(task.inputs[:, 0])
    call = getattr(ensembles_jpc, way)
    curve = call(model, teacher, batches, task.rates[0])
    task.check(f"JPC {way}", "pc", "none", np.asarray(curve)[None, None], 1, 1, 1e-7)
    # A scan is timed over more steps, so that calling it is not what is timed.
    times = 25 if way == "scan" else 1
    many = jax.numpy.tile(batches, (times, 1, 1))
    jax.block_until_ready(call(model, teacher, many, task.rates[0]))
    return {1: (lambda: jax.block_until_ready(call(model, teacher, many, task.rates[0])), times)}


class Rows:
    """Repetitions by name: {row: {variant: [us, ...]}}."""

    def __init__(self):
        self.times = {}

    def add(self, row, variant, us):
        self.times.setdefault(row, {}).setdefault(variant, []).append(us)

    def best(self, row):
        medians = {v: statistics.median(t) for v, t in self.times[row].items()}
        return min(medians.values()) if medians else float("nan")


def run_ours(binary, rows, filter_):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run(
            [binary, f"--benchmark_filter={filter_}", "--benchmark_min_time=0.2",
             f"--benchmark_out={out.name}", "--benchmark_out_format=json"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for run in json.loads(Path(out.name).read_text())["benchmarks"]:
            name = run["run_name"].split("/process_time")[0].split("/real_time")[0]
            value = run["us"] if "us" in run else run["GFLOP/s"]
            rows.add(name, "", value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("binary", help="ensemble_benchmark")
    parser.add_argument("--out", default="ensembles.json")
    parser.add_argument("--only", default="", help="time rows whose name holds this text only")
    arguments = parser.parse_args()
    rivals = {}  # row: {variant: (call, members)}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([arguments.binary, "--export", folder, str(RATES), str(STEPS)], check=True)
        for hidden in (1, 8):
            task = Task(Path(folder), hidden)
            for rule, rescaling in MODELS:
                name = f"{rule} {rescaling}, {hidden} hidden"
                # eigvalsh of a diverging float32 network throws.
                dtypes = ("float64", "float32") if rescaling == "none" else ("float64",)
                for dtype in dtypes:
                    rivals[f"{name}/JAX, {dtype}"] = jax_rivals(task, rule, rescaling, dtype, False)
                    rivals[f"{name}/PyTorch, {dtype}"] = torch_rivals(task, rule, rescaling, dtype)
                rivals[f"{name}/JAX moments, float64"] = jax_rivals(
                    task, rule, rescaling, "float64", True)
                print(name, "checked", flush=True)
            for way in ("scan", "loop"):
                rivals[f"pc none, {hidden} hidden/JPC, {way}"] = jpc_rivals(task, way)
    rivals = {row: variants for row, variants in rivals.items() if arguments.only in row}
    rows = Rows()
    ours = "(bp|pc) (none|decorrelation|projection), . hidden/|peak|members"
    for repetition in range(REPETITIONS):
        print("repetition", repetition, flush=True)
        for row, variants in rivals.items():
            for variant, (call, members) in variants.items():
                start = time.process_time()
                call()
                us = (time.process_time() - start) / members / STEPS * 1e6
                rows.add(row, str(variant), us)
        if not arguments.only:
            run_ours(arguments.binary, rows, ours)
    Path(arguments.out).write_text(json.dumps(rows.times, indent=1))
    print("| row | µs per member and step, or GFLOP/s |\n| --- | ---: |")
    for row in sorted(rows.times):
        print(f"| {row} | {rows.best(row):.3g} |")


if __name__ == "__main__":
    main()
