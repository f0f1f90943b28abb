#!/usr/bin/env python3
"""Compares the programs of two builds: every config, shortened, has to give the same bytes.

usage: scripts/same_results.py OLD NEW [--data DIR] [--only WORD]

OLD and NEW are folders of programs, such as build/release/bin and the bin of an installed copy.
Compared are --help, --print-config and metrics.csv of every file in configs/ and configs/quick, with
one seed and few steps; of Kalman predictive coding; of a sweep in two shards; and of a run that is
interrupted and resumed. Images are those of --data, drawn digits where it is not given. Differences
are printed, and the exit code is 1 where there are any.
"""
import argparse
import difflib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ["alignment", "autoencoder", "classifier", "inference", "regression", "trajectory"]
SHORT = {
    "alignment": {"seeds": 1, "width": 24},
    "regression": {"seeds": 1, "steps": 5, "width": 16, "learning_rate": "[0.01,0.1]"},
    "autoencoder": {"seeds": 1, "steps": 4, "learning_rate": "[0.01,0.1]", "samples": 200,
                    "test_samples": 100},
    "classifier": {"seeds": 1, "steps": 4, "learning_rate": "[0.01,0.1]", "samples": 200,
                   "test_samples": 100},
    "trajectory": {"steps": 20},
}


def words(settings):
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def program_of(config):
    found = [p for p in PROGRAMS if re.search(rf"_{p}(_|$)|^{p}_", config.stem)]
    if len(found) != 1:
        sys.exit(f"same_results.py: {config} names no program")
    return found[0]


def settings_for(config, images):
    """Those of SHORT that the config does not make impossible."""
    program = program_of(config)
    settings = dict(SHORT[program])
    text = config.read_text()
    if re.search(r"^(widths|width) = \[", text, re.MULTILINE):
        settings.pop("width", None)
    if "hidden_layers" in text and program == "alignment":
        settings["hidden_layers"] = "[1,3]"
    if re.search(r"^epochs = [1-9]", text, re.MULTILINE):
        settings.pop("steps", None)
        settings["epochs"] = 1
    return settings | (images if program in ("autoencoder", "classifier") else {})


class Build:
    def __init__(self, folder, work):
        self.folder = pathlib.Path(folder).resolve()
        self.work = pathlib.Path(work)
        self.work.mkdir()

    def run(self, program, arguments, interrupt_after=None):
        environment = dict(os.environ, PCXX_PYTHON="/nonexistent")
        command = [str(self.folder / f"pcxx-{program}"), *arguments]
        process = subprocess.Popen(command, cwd=self.work, env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, errors = process.communicate(timeout=interrupt_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate()
        return out if process.returncode in (0, 130) else f"{out}{errors}exit {process.returncode}\n"

    def metrics(self, folder):
        file = self.work / folder / "metrics.csv"
        return file.read_text() if file.exists() else "no metrics.csv\n"


def configs(only):
    found = sorted(ROOT.glob("configs/*.toml")) + sorted(ROOT.glob("configs/quick/*.toml"))
    return [config for config in found if only in str(config)]


def cases(arguments):
    """Name, and what a build gives for it."""
    images = {"dataset": "digits"} if arguments.data is None else {"data": arguments.data}
    for program in PROGRAMS:
        yield f"--help of {program}", lambda build, p=program: build.run(p, ["--help"])
    for config in configs(arguments.only):
        name = str(config.relative_to(ROOT))
        program = program_of(config)
        common = ["--config", str(config), *words(settings_for(config, images)), "--threads", "1"]

        def printed(build, program=program, common=common):
            return build.run(program, [*common, "--print-config"])

        def measured(build, program=program, common=common, name=name):
            folder = name.replace("/", "-")
            log = build.run(program, [*common, "--quiet", "--out", folder])
            return log + build.metrics(folder)

        yield f"--print-config of {name}", printed
        yield f"metrics.csv of {name}", measured
    sweep = words({"seeds": 2, "steps": 6, "width": 8, "hidden_layers": "[1,2]",
                   "learning_rate": "[0.01,0.1]", "rule": "[bp,pc,kpc]"})

    def shards(build):
        for shard in ("0/2", "1/2"):
            build.run("regression", [*sweep, "--quiet", "--out", "shards", "--shard", shard])
        build.run("regression", ["--merge", "shards", "--out", "shards", "--quiet"])
        return build.metrics("shards")

    def resumed(build):
        kpc = words({"rule": "[pc,kpc]", "seeds": 1, "steps": 400, "learning_rate": 0.05,
                     "samples": 400, "test_samples": 100, "checkpoint_every": 20} | images)
        build.run("classifier", [*kpc, "--quiet", "--out", "resumed"], interrupt_after=1.5)
        build.run("classifier", ["--resume", "--out", "resumed", "--quiet"])
        return build.metrics("resumed")

    yield "a sweep in two shards", shards
    yield "an interrupted run", resumed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--data", help="folder that has mnist/ and fashion-mnist/")
    parser.add_argument("--only", default="", help="configs whose name has this word")
    arguments = parser.parse_args()
    if arguments.data:
        arguments.data = str(pathlib.Path(arguments.data).resolve())
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        builds = [Build(getattr(arguments, name), pathlib.Path(folder) / name)
                  for name in ("old", "new")]
        for name, gives in cases(arguments):
            old, new = (gives(build) for build in builds)
            if old == new:
                print(f"same       {name} ({len(old)} bytes)", flush=True)
                continue
            different += 1
            print(f"DIFFERENT  {name}", flush=True)
            lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "old", "new", lineterm="", n=0)
            print("\n".join(list(lines)[:12]), flush=True)
    print(f"{different} differences")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
