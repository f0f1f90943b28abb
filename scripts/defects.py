#!/usr/bin/env python3
"""Puts known one-line defects into the mathematics, one at a time, and asks whether the tests notice.

usage: scripts/defects.py [--list] [--check] [--only NAME]... [--changed BASE] [--jobs N] [--help]
  --list       the table: name, file, tests
  --check      only whether every entry still fits its file; builds nothing
  --only NAME  these defects alone (repeatable)
  --changed BASE  those in files that differ from the commit BASE
  --jobs N     compilers at a time (default 1)

tests/defects.toml holds the table. Everything happens in a copy of the tree, build/defects, which is
built once without a defect and must then pass the tests that are named; for each defect only the
test program named is built again. A defect is noticed when one of its tests fails. A crash, a
compiler's complaint or a test that never ends is not a test that notices, and is shown as what it is.
Ends with 1 when a defect is not noticed, with 2 when the table does not fit the files.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "defects"
BUILD = COPY / "build" / "release"
KEYS = {"name", "file", "find", "replace", "program", "tests"}
TEST_SECONDS = 300


def fail(text):
    print(f"defects.py: {text}", file=sys.stderr)
    sys.exit(2)


def read_table():
    with open(ROOT / "tests" / "defects.toml", "rb") as file:
        defects = tomllib.load(file)["defect"]
    names = [defect.get("name", "?") for defect in defects]
    for defect, name in zip(defects, names):
        if set(defect) != KEYS:
            fail(f"tests/defects.toml: '{name}' must have exactly the keys {', '.join(sorted(KEYS))}")
        if names.count(name) > 1:
            fail(f"tests/defects.toml: there are two defects '{name}'")
    return defects


def misfits(defects):
    """One sentence for each entry whose text is not exactly once in its file, or that changes nothing."""
    found = []
    for defect in defects:
        path = ROOT / defect["file"]
        count = path.read_text().count(defect["find"]) if path.is_file() else 0
        if count != 1:
            found.append(f"'{defect['name']}': its text is {count} times in {defect['file']}, not once")
        elif defect["find"] == defect["replace"]:
            found.append(f"'{defect['name']}' changes nothing")
        for suite in suites(defect):
            source = "".join(p.read_text() for p in (ROOT / "tests" / defect["program"]).glob("*.cpp"))
            if not re.search(r"TEST(_F|_P)?\(" + suite + r"\)", source):
                found.append(f"'{defect['name']}': tests/{defect['program']} has no test {suite}")
    return found


def suites(defect):
    """Suite, name pattern of every test named, for a search in the sources."""
    for test in defect["tests"].split(":"):
        suite, _, name = test.partition(".")
        suite = suite.split("/")[-1]
        yield suite + ", " + name.split("/")[0].replace("*", r"\w*")


def copy_tree():
    """The files that git knows or would add; those that are the same already keep their time."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True).stdout.decode()
    wanted = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for name in wanted:
        target = COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_bytes() != (ROOT / name).read_bytes():
            shutil.copy2(ROOT / name, target)
            os.utime(target)
    for path in COPY.rglob("*"):
        name = path.relative_to(COPY)
        if path.is_file() and name.parts[0] not in ("build", ".venv") and str(name) not in wanted:
            path.unlink()


def environment():
    return dict(os.environ, CCACHE_BASEDIR=str(COPY), OMP_NUM_THREADS="1")


def command(words, **options):
    return subprocess.run(words, cwd=COPY, env=environment(), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)


def configure():
    link = COPY / ".venv"
    if (ROOT / ".venv").exists() and not link.is_symlink():
        link.symlink_to(ROOT / ".venv")
    done = command(["cmake", "--preset", "release"])
    if done.returncode:
        fail("CMake failed:\n" + done.stdout)


def build(programs, jobs):
    return command(["cmake", "--build", str(BUILD), "--parallel", str(jobs), "--target"]
                   + [program + "_test" for program in programs])


def run_tests(program, tests):
    """noticed, passed, or what else happened."""
    try:
        done = command([str(BUILD / "bin" / f"{program}_test"), f"--gtest_filter={tests}"],
                       timeout=TEST_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end after {TEST_SECONDS} s"
    ran = re.search(r"^\[==========\] (\d+) tests? from .* ran\.", done.stdout, re.MULTILINE)
    if done.returncode < 0:
        return "crash: " + signal.Signals(-done.returncode).name
    if not ran or ran.group(1) == "0":
        return "no test ran"
    if re.search(r"^\[  FAILED  \]", done.stdout, re.MULTILINE):
        return "noticed"
    return "passed" if done.returncode == 0 else f"exit code {done.returncode}"


def check_clean(defects, jobs):
    programs = sorted({defect["program"] for defect in defects})
    print(f"building {', '.join(programs)} without a defect in {COPY.relative_to(ROOT)}", flush=True)
    built = build(programs, jobs)
    if built.returncode:
        fail("the copy does not build:\n" + built.stdout[-4000:])
    for program in programs:
        tests = ":".join(sorted({d["tests"] for d in defects if d["program"] == program}))
        outcome = run_tests(program, tests)
        if outcome != "passed":
            fail(f"without a defect: {program}_test --gtest_filter={tests}: {outcome}")


def try_defect(defect, jobs):
    path = COPY / defect["file"]
    text = path.read_text()
    path.write_text(text.replace(defect["find"], defect["replace"]))
    try:
        if build([defect["program"]], jobs).returncode:
            return "does not compile"
        outcome = run_tests(defect["program"], defect["tests"])
        return "NOT NOTICED" if outcome == "passed" else outcome
    finally:
        path.write_text(text)


def changed_files(base):
    listed = subprocess.run(["git", "diff", "--name-only", "--diff-filter=d", base], cwd=ROOT, text=True,
                            capture_output=True, check=False)
    if listed.returncode != 0:
        fail(f"--changed {base}: {listed.stderr.strip()}")
    return set(listed.stdout.split("\n"))


def arguments():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--changed", metavar="BASE")
    parser.add_argument("--jobs", type=int, default=1)
    return parser.parse_args()


def main():
    given = arguments()
    if given.help:
        print(__doc__.strip())
        return 0
    defects = read_table()
    unknown = set(given.only) - {defect["name"] for defect in defects}
    if unknown:
        fail(f"there is no defect {', '.join(sorted(unknown))}; --list shows them")
    if given.only:
        defects = [defect for defect in defects if defect["name"] in given.only]
    if given.changed:
        names = changed_files(given.changed)
        defects = [defect for defect in defects if defect["file"] in names]
    if given.list:
        for defect in defects:
            print(f"{defect['name']:34} {defect['file']:46} {defect['program']}_test {defect['tests']}")
        return 0
    wrong = misfits(defects)
    if wrong:
        fail("tests/defects.toml does not fit:\n  " + "\n  ".join(wrong))
    if given.check:
        print(f"all {len(defects)} defects fit their files")
        return 0

    if not defects:
        print("no defect is in a file that has changed")
        return 0
    copy_tree()
    configure()
    check_clean(defects, given.jobs)
    missed = 0
    for number, defect in enumerate(defects, 1):
        start = time.monotonic()
        outcome = try_defect(defect, given.jobs)
        missed += outcome != "noticed"
        print(f"{number:3}/{len(defects)} {defect['name']:34} {outcome:12} "
              f"{time.monotonic() - start:4.0f} s  {defect['program']}_test {defect['tests']}", flush=True)
    print(f"{len(defects) - missed} of {len(defects)} defects were noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
