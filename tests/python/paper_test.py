#!/usr/bin/env python3
"""Tests of CITATION.cff and docs/paper. Oracles: the form that the Journal of Open Source Software asks for, and
CMakeLists.txt."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("Summary", "Statement of need", "State of the field", "Acknowledgements", "References")


class Paper(unittest.TestCase):
    def setUp(self):
        text = (ROOT / "docs/paper/paper.md").read_text()
        _, self.head, self.body = text.split("---\n", 2)
        self.library = (ROOT / "docs/paper/paper.bib").read_text()

    def test_length(self):
        words = len(self.body.split())
        self.assertTrue(250 <= words <= 1000, words)

    def test_sections(self):
        found = re.findall(r"^# (.*)$", self.body, re.M)
        for section in SECTIONS:
            self.assertIn(section, found)

    def test_head(self):
        for key in ("title:", "tags:", "authors:", "affiliations:", "date:", "bibliography: paper.bib"):
            self.assertIn(f"\n{key}", "\n" + self.head)

    def test_citations(self):
        cited = set(re.findall(r"@(\w+)", self.body))
        listed = re.findall(r"^@\w+\{(\w+),$", self.library, re.M)
        self.assertEqual(cited, set(listed))
        self.assertEqual(len(listed), len(set(listed)))


class Citation(unittest.TestCase):
    def test_version(self):
        version = re.search(r"\n  VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
        citation = (ROOT / "CITATION.cff").read_text()
        self.assertIn(f"\nversion: {version}\n", citation)
        self.assertRegex((ROOT / "CHANGELOG.md").read_text(), rf"\n## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n")

    def test_keys(self):
        keys = re.findall(r"^([a-z-]+):", (ROOT / "CITATION.cff").read_text(), re.M)
        self.assertLessEqual({"cff-version", "message", "title", "authors", "version", "license"}, set(keys))


if __name__ == "__main__":
    unittest.main()
