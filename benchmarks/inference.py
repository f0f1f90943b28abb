#!/usr/bin/env python3
"""Prints the solver table of INFERENCE.md: passes that each solver needs on the MNIST autoencoder as
drawn, and after 200 and 5,000 steps of three models.

    benchmarks/inference.py --programs build/release/bin --data FOLDER_WITH_MNIST --out runs/solvers

Finished trainings and measurements in --out are taken as they are.
"""
import argparse
import json
import subprocess
from pathlib import Path

SETTINGS = 'dataset = "mnist"\n'
# Per length of training the rate with the least test error, of the same seed: at 200 steps of 0.05,
# 0.1, 0.2, 0.3, 1, 3, 5, 10; at 5,000 of 0.03 and 0.1 (PC), 1 and 3 (decorrelation), 0.3, 1 and 3
# (projection).
MODELS = {
    "PC": ("none", {200: 0.2, 5000: 0.1}),
    "PC + decorrelation": ("decorrelation", {200: 3, 5000: 1}),
    "PC + projection": ("projection", {200: 3, 5000: 3}),
}
SOLVERS = """
[[models]]
inference = "lbfgs"
[[models]]
inference = "error_descent"
[[models]]
inference = "error_descent"
inference_step_size = 0.1
[[models]]
inference = "state_descent"
inference_step_size = 0.05
inference_steps = 10_000
"""
NAMES = {
    "lbfgs": "L-BFGS",
    "error_descent": "error descent, step from curvature",
    "error_descent, step 0.1": "error descent, step 0.1",
    "state_descent, step 0.05": "state descent, step 0.05",
}
GAPS = ("0.1", "0.01", "0.001", "0.0001")


def run(program, folder, config, *words):
    """summary.json of a run, made unless it is there."""
    summary = folder / "summary.json"
    if not summary.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = folder.with_suffix(".toml")
        file.write_text(SETTINGS + config)
        subprocess.run([program, "--config", file, "--out", folder, *words], check=True)
    return json.loads(summary.read_text())


def train(args, rescaling, steps, rate):
    folder = args.out / f"{rescaling}-{steps}"
    config = f"""measure = []
rule = "pc"
rescaling = "{rescaling}"
learning_rate = {rate}
seeds = 1
steps = {steps}
test_every = {steps}
"""
    summary = run(args.programs / "pcxx-autoencoder", folder, config, "--data", args.data)
    return folder / summary["models"][0]["weights"][0], summary["models"][0]["final_error"]


def measure(args, name, batch_size, weights):
    config = f"""batch_size = {batch_size}
seeds = {1 if batch_size > 1 else 10}
inference = "lbfgs"
inference_step_size = 0
{SOLVERS}"""
    words = ["--load", weights] if weights else []
    return run(
        args.programs / "pcxx-inference",
        args.out / f"{name}-B{batch_size}",
        config,
        "--data",
        args.data,
        *words,
    )


def row(solver):
    if solver["inference_unstable"] > 0:
        return "unstable", "-"
    passes = [f"{solver[f'passes_to_{gap}']:g}" if f"passes_to_{gap}" in solver else "never" for gap in GAPS]
    own = f"{solver['inference_mean_passes']:.0f}, {100 * solver['inference_converged']:.0f} %"
    return " / ".join(passes), own


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("programs", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    networks = {"as drawn": (None, "drawn")}
    for model, (rescaling, rates) in MODELS.items():
        for steps, rate in rates.items():
            weights, error = train(args, rescaling, steps, rate)
            networks[f"{model}, rate {rate:g}, {steps:,} steps (test error {error:.4f})"] = (
                weights,
                f"{rescaling}-{steps}-solvers",
            )
    print("| network | B | curvature: median, largest | solver | passes to 10 / 1 / 0.1 / 0.01 % | stops after, converged |")
    print("| --- | ---: | --- | --- | --- | --- |")
    for network, (weights, name) in networks.items():
        for batch_size in (64, 1):
            summary = measure(args, name, batch_size, weights)
            curvature = summary["curvature"]
            first = f"{network} | {batch_size} | {curvature['median']:.3g}, {curvature['largest']:.3g}"
            for solver in summary["solvers"]:
                print(f"| {first} | {NAMES[solver['solver']]} | {' | '.join(row(solver))} |")
                first = " | | "


if __name__ == "__main__":
    main()
