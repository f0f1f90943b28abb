#!/usr/bin/env python3
"""Builds the wheel and uses it in an environment that has torch and what torch needs, and nothing else."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
KEYS = ["--set", "width=3", "--set", "seeds=2", "--set", "steps=20", "--set", "learning_rate=[0.1,0.3]"]


def distributions(name, found=None):
    """Of a package and of all that it needs here."""
    found = {} if found is None else found
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return found
    try:
        found[key] = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return found
    for needed in found[key].requires or ():
        if "extra ==" not in needed:
            distributions(re.match(r"[\w.-]+", needed)[0], found)
    return found


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        work = Path(cls.folder.name)
        cls.run_in(work, SOURCE / "scripts/wheel.sh", work / "dist")
        (cls.wheel,) = (work / "dist").glob("*.whl")
        cls.run_in(work, sys.executable, "-m", "venv", work / "venv")
        cls.bin = work / "venv/bin"
        site = Path(cls.run_in(work, cls.bin / "python", "-c", "import site; print(site.getsitepackages()[0])").strip())
        for distribution in [*distributions("torch").values(), *distributions("numpy").values()]:
            for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__", "bin"}:
                if not (site / top).exists():
                    (site / top).symlink_to(distribution.locate_file(top))
        cls.run_in(work, cls.bin / "python", "-m", "pip", "install", "-q", "--no-index", cls.wheel)

    @staticmethod
    def run_in(folder, *command):
        """What it prints."""
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PCXX_BIN")}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=clean)
        if done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def run_here(self, *command):
        return self.run_in(self.folder.name, *command)

    def test_what_it_holds(self):
        with zipfile.ZipFile(self.wheel) as archive:
            names = archive.namelist()
        for name in ("_core.pyi", "py.typed", "libpcxx.so", "plots/regression.py", "weights.py", "bin/pcxx-regression"):
            self.assertIn(f"pcxx/{name}", names)
        self.assertEqual(len([name for name in names if "/libpcxx.so" in name]), 1)
        foreign = [name for name in names if re.search(r"lib(torch|c10|gomp|mpi)[^/]*\.so", name)]
        self.assertEqual(foreign, [])
        self.assertFalse(any("test" in Path(name).parts[0] for name in names))

    def test_what_it_asks_for(self):
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            lines = archive.read(name).decode().splitlines()
        self.assertIn("Requires-Dist: torch==2.13.*", lines)
        self.assertIn("Requires-Dist: numpy", lines)
        self.assertIn("Provides-Extra: plots", lines)

    def test_its_libraries_lie_beside_torch(self):
        elf = self.bin.parent.glob("lib/python*/site-packages/pcxx/libpcxx.so")
        found = self.run_here("readelf", "-d", next(elf))
        (path,) = re.findall(r"(?:RUNPATH|RPATH).*\[(.*)\]", found)
        self.assertIn("$ORIGIN/../torch/lib", path.split(":"))
        self.assertTrue(all(part.startswith("$ORIGIN") for part in path.split(":")), path)

    def test_imports_and_trains(self):
        script = """
import pcxx
x, y = pcxx.data.drawn_digits(200)
net = pcxx.Network([784, 10, 10])
pcxx.fit(net, "pc", pcxx.Optimizer(net, learning_rate=0.1), x, y, epochs=100, batch_size=50)
print(pcxx.accuracy(net, x, y) > 0.3, pcxx.__version__, pcxx.__file__)
"""
        words = self.run_here(self.bin / "python", "-c", script).split()
        self.assertEqual(words[0], "True")
        self.assertIn(str(self.bin.parent), words[2])

    def test_programs_are_console_commands(self):
        out = Path(self.folder.name) / "run"
        self.run_here(self.bin / "pcxx-regression", "--out", out, *KEYS)
        built = SOURCE / "build/release/bin/pcxx-regression"
        if not built.is_file():
            self.skipTest("no program to compare with")
        self.run_here(built, "--out", out.with_name("built"), *KEYS)
        self.assertEqual((out / "metrics.csv").read_bytes(), (out.with_name("built") / "metrics.csv").read_bytes())

    def test_every_program_says_what_it_does(self):
        for name in ("alignment", "autoencoder", "classifier", "inference", "regression", "reproduce", "trajectory"):
            self.assertIn(f"pcxx-{name}", self.run_here(self.bin / f"pcxx-{name}", "--help"))

    def test_configs_are_found(self):
        script = (
            "import pcxx, pathlib; print(*(pathlib.Path(pcxx.__file__).parent / 'share/pcxx/configs').glob('*.toml'))"
        )
        configs = self.run_here(self.bin / "python", "-c", script).split()
        self.assertEqual(
            {Path(config).name for config in configs}, {config.name for config in (SOURCE / "configs").glob("*.toml")}
        )


if __name__ == "__main__":
    unittest.main()
