#!/usr/bin/env python3
"""Tests of pcxx.run against the programs themselves, which the oracle runs by hand: the same bytes, the same
sentences. With the package on PYTHONPATH; PCXX_BIN names the programs' folder where they are not in the package."""

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import pcxx
import torch
from pcxx import _process, _programs, _toml

os.environ["PCXX_PYTHON"] = "true"  # programs draw nothing here: figures are those of Python

QUICK = {
    "alignment": {"hidden_layers": [1, 2], "width": 8, "seeds": 2},
    "autoencoder": {
        "dataset": "digits",
        "samples": 40,
        "test_samples": 20,
        "steps": 3,
        "seeds": 1,
        "learning_rate": 0.1,
    },
    "classifier": {
        "dataset": "digits",
        "samples": 40,
        "test_samples": 20,
        "steps": 3,
        "seeds": 1,
        "learning_rate": 0.1,
    },
    "inference": {"dataset": "digits", "samples": 40, "batch_size": 8, "seeds": 1},
    "regression": {"rule": ["bp", "pc"], "steps": 5, "seeds": 2, "learning_rate": [0.01, 0.1]},
    "trajectory": {"steps": 20},
}


def by_hand(program, *words):
    """Exit code, and what it says on stderr."""
    path = _programs.program_path(program)
    done = subprocess.run([path, *words], capture_output=True, text=True, env=_programs.environment(), check=False)
    return done.returncode, done.stderr


def words_of(keys):
    """As a person writes them."""
    words = []
    for name, value in keys.items():
        text = "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
        words += ["--set", f"{name}={text}"]
    return words


class Folder(unittest.TestCase):
    """Each test has an empty folder, and sees no messages."""

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.errors = self.enterContext(contextlib.redirect_stderr(io.StringIO()))

    def path(self, name):
        return str(self.folder / name)

    def fake_program(self, script):
        """A script in the place of pcxx-regression."""
        program = self.folder / "pcxx-regression"
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.enterContext(mock.patch.dict(os.environ, {"PCXX_BIN": str(self.folder)}))


class SameBytes(Folder):
    """Oracle: the program, called by hand."""

    def check(self, program):
        code, errors = by_hand(program, "--out", self.path("a"), *words_of(QUICK[program]))
        self.assertEqual(code, 0, errors)
        run = pcxx.run(program, out=self.path("b"), **QUICK[program])
        written = (self.folder / "a" / "metrics.csv").read_bytes()
        self.assertEqual(written, (run.folder / "metrics.csv").read_bytes())
        self.assertGreater(len(written.splitlines()), 1)
        self.assertEqual(run.program, program)
        self.assertEqual(len(run.columns["value"]), len(written.splitlines()) - 1)

    def test_activities(self):
        (weights, *_) = pcxx.run("classifier", **QUICK["classifier"]).networks()
        keys = {"dataset": "digits", "samples": 20, "test_samples": 20}
        by_hand("activities", "--load", os.fspath(weights), "--out", self.path("a"), *words_of(keys))
        run = pcxx.run("activities", load=weights, **keys)
        self.assertEqual((self.folder / "a/metrics.csv").read_bytes(), (run.folder / "metrics.csv").read_bytes())
        self.assertGreater(len(run.columns["value"]), 0)

    def test_alignment(self):
        self.check("alignment")

    def test_autoencoder(self):
        self.check("autoencoder")

    def test_classifier(self):
        self.check("classifier")

    def test_inference(self):
        self.check("inference")

    def test_regression(self):
        self.check("regression")

    def test_trajectory(self):
        self.check("trajectory")

    def test_tables(self):
        models = [{"rule": "pc"}, {"rule": "bp", "rescaling": "projection", "learning_rate": [0.01, 0.1]}]
        config = (
            '[[models]]\nrule = "pc"\n[[models]]\nrule = "bp"\nrescaling = "projection"\nlearning_rate = [0.01, 0.1]\n'
        )
        (self.folder / "models.toml").write_text(config)
        rest = {"steps": 3, "seeds": 1, "learning_rate": 0.05}
        by_hand("regression", "--config", self.path("models.toml"), "--out", self.path("a"), *words_of(rest))
        run = pcxx.run("regression", models=models, **rest)
        self.assertEqual((self.folder / "a/metrics.csv").read_bytes(), (run.folder / "metrics.csv").read_bytes())

    def test_config_by_name_and_keys_over_it(self):
        keys = {"steps": 2, "seeds": 1, "learning_rate": 0.1}
        run = pcxx.run("regression", config="fig4b_regression_1", **keys)
        path = pcxx._run.config_path("fig4b_regression_1")
        by_hand("regression", "--config", str(path), "--out", self.path("a"), *words_of(keys))
        self.assertEqual((self.folder / "a/metrics.csv").read_bytes(), (run.folder / "metrics.csv").read_bytes())
        self.assertEqual(run.config["steps"], 2)

    def test_config_with_tables_over_it(self):
        (self.folder / "base.toml").write_text("steps = 2\nseeds = 1\nlearning_rate = 0.1\nwidth = 3\n")
        run = pcxx.run("regression", config=self.folder / "base.toml", models=[{"rule": "pc"}], width=4)
        self.assertEqual(set(run.columns["rule"]), {"pc"})
        self.assertEqual(set(run.columns["width"]), {4})

    def test_shards_are_merged(self):
        keys = QUICK["regression"]
        whole = pcxx.run("regression", **keys)
        for i in range(2):
            pcxx.run("regression", out=self.path("parts"), shard=f"{i}/2", **keys)
        merged = pcxx.run("regression", out=self.path("merged"), merge=self.path("parts"))
        self.assertEqual((whole.folder / "metrics.csv").read_bytes(), (merged.folder / "metrics.csv").read_bytes())

    def test_weights_to_start_from(self):
        first = pcxx.run("classifier", **QUICK["classifier"])
        weights = first.networks()[0]
        runs = [
            pcxx.run("classifier", load=one, **QUICK["classifier"]) for one in (weights.path, weights, weights.network)
        ]
        found = [(run.folder / "metrics.csv").read_bytes() for run in runs]
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])
        self.assertNotEqual(found[0], (first.folder / "metrics.csv").read_bytes())


class Values(unittest.TestCase):
    """Oracle: tomllib reads back what was meant."""

    def read(self, value):
        return tomllib.loads(f"key = {_toml.value(value)}")["key"]

    def test_numbers_and_lists(self):
        for value in (0, -3, 2**40, 0.1, 1e-300, 1 / 3, True, False, [1, 2], [0.5, 1.5], ["a", "b"], []):
            self.assertEqual(self.read(value), value)
        self.assertEqual(self.read((1, 2)), [1, 2])
        self.assertEqual(self.read(range(3)), [0, 1, 2])
        self.assertEqual(self.read(float("inf")), float("inf"))

    def test_texts(self):
        for text in ("plain", 'with "quotes"', "back\\slash", "two\nlines\ttab", "\x00\x1f\x7f", "Grüße 🦉", ""):
            self.assertEqual(self.read(text), text)
        self.assertEqual(self.read(Path("/a b")), "/a b")

    def test_arrays_and_tensors(self):
        self.assertEqual(self.read(np.array([0.1, 0.2])), [0.1, 0.2])
        self.assertEqual(self.read(np.int64(3)), 3)
        self.assertEqual(self.read(torch.tensor([1, 2])), [1, 2])
        self.assertEqual(self.read(torch.float32), "float32")
        self.assertIs(self.read(np.bool_(True)), True)

    def test_tables(self):
        self.assertEqual(self.read({"a": 1, "b": "x"}), {"a": 1, "b": "x"})
        tables = [{"rule": "pc", "learning_rate": [0.1]}, {"rule": "bp"}]
        self.assertEqual(tomllib.loads(_toml.document({"models": tables, "seeds": 3})), {"models": tables, "seeds": 3})

    def test_what_is_no_value(self):
        with self.assertRaisesRegex(pcxx.UserError, "rule = None is no number"):
            _toml.value(None, "rule")

    def test_ranges_are_those_of_the_programs(self):
        with contextlib.redirect_stderr(io.StringIO()):
            run = pcxx.run("regression", steps=1, seeds=1, rule="pc", learning_rate=pcxx.logspace(1e-3, 1, 7))
        rates = np.unique(run.columns["learning_rate"])
        np.testing.assert_allclose(rates, np.geomspace(1e-3, 1, 7), rtol=1e-12)
        np.testing.assert_allclose(list(pcxx.logspace(1e-3, 1, 7)), rates, rtol=1e-12)
        np.testing.assert_allclose(list(pcxx.linspace(0.5, 2, 4)), np.linspace(0.5, 2, 4), rtol=1e-12)


class Refusals(Folder):
    """Oracle: what the program says, and its exit code."""

    def test_the_same_sentence(self):
        for keys in ({"rule": "hebb"}, {"nodging": 3}, {"seeds": []}, {"learning_rate": -1}, {"steps": 0.5}):
            code, errors = by_hand("regression", *words_of(keys))
            self.assertEqual(code, 2)
            with self.assertRaises(pcxx.UserError) as caught:
                pcxx.run("regression", **keys)
            said = errors.strip().removeprefix("pcxx-regression: ").replace('"', "")
            self.assertEqual(str(caught.exception).replace('"', ""), said)

    def test_of_a_table(self):
        with self.assertRaisesRegex(pcxx.UserError, r"^config\.toml:\d+:\d+: no key is called 'nodging'"):
            pcxx.run("regression", models=[{"rule": "pc", "nodging": 1}])

    def test_of_what_is_not_there(self):
        with self.assertRaisesRegex(pcxx.UserError, "there is no program 'regresion'"):
            pcxx.run("regresion")
        with self.assertRaisesRegex(pcxx.UserError, "there is no program 'runs' to run"):
            pcxx.run("runs")
        with self.assertRaisesRegex(pcxx.UserError, "there is no config 'none'"):
            pcxx.run("regression", config="none")
        with self.assertRaisesRegex(pcxx.UserError, "holds no run"):
            pcxx.load_run(self.folder)
        with self.assertRaisesRegex(pcxx.UserError, "neither a file nor a network"):
            pcxx.run("classifier", load=3)

    def test_user_errors_are_value_errors(self):
        self.assertTrue(issubclass(pcxx.UserError, ValueError))

    def test_other_failures(self):
        self.fake_program("echo 'pcxx-regression: the disk is full' >&2; exit 1\n")
        with self.assertRaisesRegex(
            RuntimeError, "^pcxx-regression ended with exit code 1: the disk is full$"
        ) as caught:
            pcxx.run("regression")
        self.assertNotIsInstance(caught.exception, pcxx.UserError)

    def test_a_program_that_dies(self):
        self.fake_program("kill -SEGV $$\n")
        with self.assertRaisesRegex(RuntimeError, "exit code -11: it said nothing"):
            pcxx.run("regression")


class Progress(Folder):
    """Contract: what is drawn is shown, what is said is kept."""

    SCRIPT = r"""
        for i in 1 2 3; do printf '\r\033[Kstep %s' $i >&2; sleep 0.1; done
        printf '\r\033[Ka warning: \303\244\n' >&2
        printf '\r\033[Kstep 4' >&2; sleep 0.1; printf '\r\033[K' >&2
        if test -t 2; then echo 'a terminal' >&2; fi
        echo printed
    """

    def test_shown(self):
        self.fake_program(self.SCRIPT)
        outcome = _process.run("regression", [], progress=True)
        self.assertEqual(outcome.messages, ["a warning: ä", "a terminal"])
        self.assertEqual((outcome.code, outcome.output), (0, "printed\n"))
        drawn = self.errors.getvalue()
        self.assertIn("step 2", drawn)
        self.assertTrue(drawn.endswith("\r"))
        self.assertNotIn("\n", drawn)

    def test_not_shown(self):
        self.fake_program(self.SCRIPT)
        outcome = _process.run("regression", [], progress=False)
        self.assertEqual(outcome.messages, ["a warning: ä"])
        self.assertEqual(self.errors.getvalue(), "")

    def test_of_a_real_program(self):
        pcxx.run("regression", steps=1000, seeds=10, hidden_layers=8, rule="pc", threads=1, progress=True)
        self.assertRegex(self.errors.getvalue(), r"regression  \d+/\d+  \d+ %")

    def test_much_is_said(self):
        self.fake_program("i=0; while test $i -lt 20000; do echo message number $i >&2; echo $i; i=$((i+1)); done\n")
        outcome = _process.run("regression", [], progress=False)
        self.assertEqual(len(outcome.messages), 20000)
        self.assertEqual(len(outcome.output.split()), 20000)


class Interruption(Folder):
    """Contract: Ctrl-C ends the program as in a terminal; what it had finished is kept."""

    KEYS = "steps=1000, seeds=20, hidden_layers=4, learning_rate=pcxx.logspace(1e-3, 1, 8), threads=1"

    def interrupted(self, statement, ready, signals=1):
        """A Python that is interrupted once `ready` says so: its exit code and last line."""
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"import pcxx\ntry:\n    {statement}\nexcept KeyboardInterrupt as error:\n    print('interrupted:', error)\n"
        )
        python = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        deadline = time.monotonic() + 300
        while not ready():
            self.assertIsNone(python.poll(), "it ended by itself")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        for _ in range(signals):
            python.send_signal(signal.SIGINT)
            time.sleep(0.5)
        output, _ = python.communicate(timeout=300)
        return python.returncode, output.strip()

    def test_goes_on_where_it_was(self):
        out = self.folder / "run"
        statement = f"pcxx.run('regression', out={str(out)!r}, {self.KEYS})"
        code, said = self.interrupted(statement, lambda: len(list(out.glob("parts/*"))) > 5)
        self.assertEqual(code, 0)
        self.assertRegex(said, r"^interrupted: .* jobs done; .*--resume")
        resumed = pcxx.run("regression", out=out, resume=True)
        whole = eval(f"pcxx.run('regression', {self.KEYS})")
        self.assertEqual((resumed.folder / "metrics.csv").read_bytes(), (whole.folder / "metrics.csv").read_bytes())

    def test_twice_kills(self):
        started = self.folder / "started"
        self.fake_program(f"trap '' INT; echo $$ > {started}; while true; do sleep 0.1; done\n")
        code, said = self.interrupted("pcxx.run('regression')", lambda: started.exists() and started.read_text(), 2)
        self.assertEqual((code, said), (0, "interrupted:"))
        with self.assertRaises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)


class Results(Folder):
    def test_columns(self):
        """Oracle: a file written by hand."""
        (self.folder / "metrics.csv").write_text('rule,seed,value,note,rest\nbp,0,1e-3,,\npc,1,nan,"a, b",\nbp,2,,,\n')
        columns = pcxx.Run(self.folder).columns
        self.assertEqual(columns["rule"].tolist(), ["bp", "pc", "bp"])
        self.assertEqual(columns["seed"].dtype, np.int64)
        np.testing.assert_array_equal(columns["value"], [1e-3, np.nan, np.nan])
        self.assertEqual(columns["note"].tolist(), ["", "a, b", ""])
        self.assertEqual(columns["rest"].tolist(), ["", "", ""])

    def test_metrics_are_a_data_frame_where_there_is_pandas(self):
        (self.folder / "metrics.csv").write_text("seed,value\n0,0.5\n")
        with mock.patch.dict(sys.modules, {"pandas": None}):
            self.assertEqual(pcxx.Run(self.folder).metrics["value"][0], 0.5)
        try:
            import pandas
        except ImportError:
            self.skipTest("no pandas")
        frame = pcxx.Run(self.folder).metrics
        pandas.testing.assert_frame_equal(frame, pandas.read_csv(self.folder / "metrics.csv"))

    def test_a_run_and_its_folder(self):
        run = pcxx.run("regression", **QUICK["regression"])
        models = {model["model"]: model for model in run.summary["models"]}
        self.assertEqual(set(models), {"bp", "pc"})
        self.assertEqual(run.environment["program"], "pcxx-regression")
        self.assertEqual(run.config["steps"], 5)
        self.assertIn("<td>pc</td>", run._repr_html_())
        self.assertIn("regression", repr(run))
        self.assertIn("best rate", run.output)
        kept = run.save(self.folder / "kept")
        with self.assertRaises(pcxx.UserError):
            run.save(self.folder / "kept")
        temporary = run.folder
        self.assertTrue(temporary.is_dir())
        del run
        self.assertFalse(temporary.exists())
        loaded = pcxx.load_run(kept.folder)
        np.testing.assert_array_equal(loaded.columns["value"], kept.columns["value"])

    def test_networks(self):
        """Oracle: what the program measured when it kept the weights; a run that starts from them begins there."""
        keys = QUICK["classifier"] | {"seeds": 2, "rule": "pc", "dtype": torch.float64}
        run = pcxx.run("classifier", **keys)
        networks = run.networks()
        temporary = run.folder
        self.assertEqual(
            [(one.model, one.seed, one.learning_rate) for one in networks], [("pc", 0, 0.1), ("pc", 1, 0.1)]
        )
        for one in networks:
            self.assertIsInstance(one.network, pcxx.Network)
            again = pcxx.run("classifier", load=one, **(keys | {"seeds": [one.seed], "steps": 1}))
            self.assertEqual(self.error_of(again, one.seed, 0), self.error_of(run, one.seed, keys["steps"]))
        del run
        self.assertTrue(temporary.exists(), "as long as somebody has its weights")
        del one, networks
        self.assertFalse(temporary.exists())

    def error_of(self, run, seed, step):
        columns = run.columns
        (found,) = columns["value"][
            (columns["metric"] == "test_error") & (columns["seed"] == seed) & (columns["step"] == step)
        ]
        return found

    def test_figure(self):
        try:
            import matplotlib
        except ImportError:
            self.skipTest("no matplotlib")
        matplotlib.use("Agg")
        run = pcxx.run("regression", **QUICK["regression"])
        figure = run.figure(size=(3, 2))
        self.assertEqual(tuple(figure.get_size_inches()), (3, 2))
        self.assertGreater(len(figure.axes), 0)
        (self.folder / "environment.json").write_text('{"program": "pcxx-regression"}')
        with self.assertRaises(pcxx.UserError):
            pcxx.load_run(self.folder).figure()

    def test_a_reproduction(self):
        run = pcxx.run("reproduce", figure="4B", profile="quick", steps=2, seeds=1)
        self.assertEqual(list(run.panels), ["4B"])
        self.assertEqual(run.program, "reproduce")
        self.assertEqual(run.panels["4B"].config["steps"], 2)
        self.assertEqual(set(run.columns["panel"]), {"4B"})
        self.assertIn("claim", run.summary["verdicts"][0])
        self.assertEqual(pcxx.load_run(run.folder).program, "reproduce")


if __name__ == "__main__":
    unittest.main()
