#!/usr/bin/env python3
"""Prints the Markdown table of README.md from Google Benchmark's JSON.

    build/release/bin/training_step_benchmark --benchmark_format=json > steps.json
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
        if run.get("run_type") == "aggregate" and run["aggregate_name"] != "median":
            continue
        problem, model = run["run_name"].removesuffix("/real_time").rsplit("/", 1)
        times.setdefault(problem, {})[model] = run["real_time"]
    print("| problem | model | µs a step | x bare products |")
    print("| --- | --- | ---: | ---: |")
    for problem, models in times.items():
        for model, time in models.items():
            bare = models.get("bare " + model.split()[0])
            ratio = f"{time / bare:.2f}" if bare and not model.startswith("bare") else ""
            print(f"| {problem} | {model} | {time:,.0f} | {ratio} |")


if __name__ == "__main__":
    main()
