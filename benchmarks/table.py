#!/usr/bin/env python3
"""Prints the Markdown table of README.md from Google Benchmark's JSON: processor time, the minimum
over the repetitions, and its ratio to the bare products of the same rule.

    benchmarks/table.py steps.json
"""
import json
import sys


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        runs = json.load(file)["benchmarks"]
    times = {}
    for run in runs:
        if run["run_type"] == "iteration":
            problem, model = run["run_name"].removesuffix("/real_time").rsplit("/", 1)
            times.setdefault(problem, {}).setdefault(model, []).append(run["cpu_time"])
    print("| problem | model | µs a step | x bare products |")
    print("| --- | --- | ---: | ---: |")
    for problem in sorted(times):
        best = {model: min(found) for model, found in times[problem].items()}
        for model in sorted(best, key=lambda name: (not name.startswith("bare"), name)):
            bare = best.get("bare " + model.split()[0])
            ratio = f"{best[model] / bare:.2f}" if bare and not model.startswith("bare") else ""
            time = f"{best[model]:,.0f}" if best[model] >= 100 else f"{best[model]:.1f}"
            print(f"| {problem} | {model} | {time} | {ratio} |")


if __name__ == "__main__":
    main()
