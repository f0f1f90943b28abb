#!/usr/bin/env python3
"""Runs every notebook of examples/notebooks in its quick profile (PCXX_QUICK). Contract: no cell fails, the last one
shows a figure, and files hold no outputs."""

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import ipykernel  # noqa: F401
    import jupyter_client
    import matplotlib  # noqa: F401
    import nbclient
    import nbformat
    import sklearn  # noqa: F401
except ImportError as error:
    print(f"skipped, as notebooks need more: {error}")
    sys.exit(77)

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "notebooks"


LONG_RUN = """
import pcxx
try:
    pcxx.run("regression", steps=1000000, seeds=1, learning_rate=0.01, rule="pc", threads=1)
except KeyboardInterrupt as error:
    print("interrupted:", error)
"""


class Kernel(unittest.TestCase):
    def setUp(self):
        manager, self.client = jupyter_client.manager.start_new_kernel(startup_timeout=300)
        self.manager = manager
        self.addCleanup(manager.shutdown_kernel, now=True)
        self.addCleanup(self.client.stop_channels)

    def streams(self, code):
        """What the kernel prints while it runs the code."""
        request = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=300)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["content"].get("execution_state") == "idle":
                return
            if message["msg_type"] == "stream":
                yield message["content"]["text"]

    def test_progress_and_interruption(self):
        """Contract: progress is drawn in the cell, and an interruption ends the program, not the kernel."""
        text, interrupted = "", False
        for part in self.streams(LONG_RUN):
            text += part
            if not interrupted and "regression  " in text:
                interrupted = True
                self.manager.interrupt_kernel()
        self.assertRegex(text, r"\rregression  \d+/\d+  \d+ %")
        self.assertIn("interrupted: pcxx-regression: interrupted", text)
        self.assertTrue(self.manager.is_alive())


class Notebooks(unittest.TestCase):
    def run_quickly(self, name):
        book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        os.environ["PCXX_QUICK"] = "1"
        with tempfile.TemporaryDirectory() as folder:
            client = nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": folder}})
            client.execute()
            self.assertEqual(os.listdir(folder), [], "it leaves nothing behind")
        return book

    def check(self, name):
        book = self.run_quickly(name)
        shown = [output.get("data", {}) for output in book.cells[-1].outputs]
        self.assertTrue(any("image/png" in data for data in shown), [list(data) for data in shown])

    def test_figure4(self):
        self.check("figure4")

    def test_own_network_own_rule(self):
        self.check("own_network_own_rule")

    def test_few_samples(self):
        self.check("few_samples")

    def test_from_pytorch(self):
        self.check("from_pytorch")

    def test_all_are_tested(self):
        names = {path.stem for path in FOLDER.glob("*.ipynb")}
        self.assertEqual({f"test_{name}" for name in names} - set(dir(self)), set())
        self.assertGreaterEqual(len(names), 4)

    def test_files_hold_no_outputs(self):
        for path in FOLDER.glob("*.ipynb"):
            for cell in json.loads(path.read_text())["cells"]:
                self.assertFalse(cell.get("outputs"), path)
                self.assertIsNone(cell.get("execution_count"), path)


if __name__ == "__main__":
    unittest.main()
