#!/usr/bin/env python3
"""Carries out a Dockerfile without Docker, in folders made by debootstrap, and runs a program there.

usage: docker/try.py [--file FILE] [--root DIR] [--with PATH[:INSIDE]]... [--cache PATH[:INSIDE]]...
                     [--env NAME=VALUE]...
                     [--keep] [COMMAND...]
  --file FILE      the Dockerfile (docker/Dockerfile)
  --root DIR       where the file systems go (/var/tmp/pcxx-chroot); several gigabytes
  --with PATH      a file or folder of this machine that every step sees and none can change, at the same
                   place or INSIDE: certificates, a configuration of pip, wheels. It is in no image
  --cache PATH     the same for a folder that steps may write to, such as that of ccache
  --env NAME=VALUE set for the RUN steps only
  --keep           go on from stages that are finished there
  COMMAND          run in the last stage as its user, in place of its CMD

Knows what our Dockerfiles use: FROM debian:12[-slim] [AS name], WORKDIR, COPY [--from=stage], RUN,
ENV, USER and CMD. Needs root and debootstrap. Every step runs in a chroot, with /results and /data as
the image has them; the sizes of the stages come last.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def say(text):
    print(f"== {text}", flush=True)


def fail(text):
    print(f"try.py: {text}", file=sys.stderr)
    sys.exit(2)


def run(words, **options):
    return subprocess.run([str(word) for word in words], check=True, **options)


def instructions(path):
    """(name, rest) of every instruction, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, rest = line.strip().split(None, 1)
            yield name.upper(), rest.strip()


class Stage:
    """A file system and what its instructions have set."""

    def __init__(self, folder, base):
        self.folder = folder
        self.base = base
        self.variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.workdir = "/"
        self.user = "root"
        self.command = []

    def inside(self, path):
        return self.folder / str(pathlib.PurePosixPath(self.workdir, path)).lstrip("/")

    def make(self, archive):
        say(f"{self.base} in {self.folder}")
        self.folder.mkdir(parents=True)
        run(["tar", "-xf", archive, "-C", self.folder])

    def set(self, assignment):
        name, value = assignment.split("=", 1)
        value = re.sub(r"\$(\w+)", lambda m: self.variables.get(m[1], ""), shlex.split(value)[0])
        self.variables[name] = value

    def execute(self, command, seen, more=None):
        """In a chroot and a mount name space of its own, which takes its mounts with it."""
        script = ['set -e', f'mount -t proc proc {self.folder}/proc',
                  f'mount --rbind /dev {self.folder}/dev']
        for source, target, writable in seen:
            here = self.folder / target.lstrip("/")
            if source.is_dir():
                script.append(f"mkdir -p {here}")
            else:
                script.append(f"mkdir -p {here.parent}; [ -e {here} ] || touch {here}")
            script.append(f"mount --bind {source} {here}")
            if not writable:
                script.append(f"mount -o remount,bind,ro {here}")
        home = "/root" if self.user == "root" else f"/home/{self.user}"
        variables = {"HOME": home, **self.variables, **(more or {})}
        enter = ["chroot", f"--userspec={self.user}", str(self.folder), "/usr/bin/env", "-i"]
        enter += [f"{name}={value}" for name, value in variables.items()]
        enter += ["/bin/sh", "-c", f"cd {shlex.quote(self.workdir)} && {command}"]
        script.append("exec " + shlex.join(enter))
        return subprocess.run(["unshare", "--mount", "sh", "-c", "\n".join(script)], check=False).returncode

    def copy(self, rest, stages):
        words = rest.split()
        if words[0].startswith("--from="):
            source = stages[words.pop(0).split("=", 1)[1]]
            for word in words[:-1]:
                target = self.inside(words[-1])
                target.parent.mkdir(parents=True, exist_ok=True)
                run(["cp", "-a", source.folder / word.lstrip("/"), target])
            return
        target = self.inside(words[-1])
        for name in context():
            for word in words[:-1]:
                if word == "." or name == word or name.startswith(word + "/"):
                    inside = name if word == "." else os.path.relpath(name, word)
                    place = target / inside
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, place)


def context():
    """Files of the repository's folder that .dockerignore lets through."""
    ignored = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines() if line.strip()]
    for folder, folders, files in os.walk(ROOT):
        relative = os.path.relpath(folder, ROOT)
        names = {name: os.path.normpath(os.path.join(relative, name)) for name in folders + files}
        skipped = {name for name, path in names.items()
                   if any(fnmatch.fnmatch(path, pattern) for pattern in ignored)}
        folders[:] = [name for name in folders if name not in skipped]
        yield from (names[name] for name in files
                    if name not in skipped and not os.path.islink(ROOT / names[name]))


def base_archive(image, root):
    """A minimal Debian, as a tar file, made once."""
    if not re.fullmatch(r"debian:12(-slim)?", image):
        fail(f"only debian:12 can be made here, not {image}")
    archive = root / "debian12.tar"
    if not archive.exists():
        folder = root / "debian12"
        shutil.rmtree(folder, ignore_errors=True)
        say(f"debootstrap of Debian 12 in {folder}")
        run(["debootstrap", "--variant=minbase", "bookworm", folder], stdout=subprocess.DEVNULL)
        for place in ("var/cache/apt/archives", "var/lib/apt/lists"):
            for file in (folder / place).glob("*.*"):
                file.unlink()
        run(["tar", "-cf", archive, "-C", folder, "."])
        shutil.rmtree(folder)
    return archive


def carry_out(path, root, seen, variables, keep):
    stages = {}
    stage = None
    finished = True
    for name, rest in instructions(path):
        if name == "FROM":
            words = rest.split()
            label = words[2] if len(words) == 3 else "last"
            if stage:
                (stage.folder.parent / (stage.folder.name + ".done")).touch()
            stage = stages[label] = Stage(root / label, words[0])
            finished = keep and (root / f"{label}.done").exists()
            if finished:
                say(f"{label}: finished before")
                continue
            shutil.rmtree(stage.folder, ignore_errors=True)
            stage.make(base_archive(words[0], root))
            continue
        if name == "WORKDIR":
            stage.workdir = str(pathlib.PurePosixPath(stage.workdir, rest))
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            stage.set(rest)
        elif name == "USER":
            stage.user = rest
        elif name == "CMD":
            stage.command = json.loads(rest)
        elif finished:
            continue
        elif name == "COPY":
            say(f"COPY {rest}")
            stage.copy(rest, stages)
        elif name == "RUN":
            say(f"RUN {' '.join(rest.split())}")
            if stage.execute(rest, seen, variables):
                fail(f"this step failed in {stage.folder}: {rest}")
        else:
            fail(f"{path}: {name} is not known here")
    return stages, stage


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--file", default=ROOT / "docker/Dockerfile", type=pathlib.Path)
    parser.add_argument("--root", default="/var/tmp/pcxx-chroot", type=pathlib.Path)
    parser.add_argument("--with", dest="seen", action="append", default=[])
    parser.add_argument("--cache", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.help:
        print(__doc__.strip())
        return 0
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        fail("root and debootstrap are needed")
    paths = [("/etc/resolv.conf", False)]
    paths += [(path, False) for path in given.seen] + [(path, True) for path in given.cache]
    seen = [(pathlib.Path(path.split(":")[0]), path.split(":")[-1], writable)
            for path, writable in paths]
    variables = dict(assignment.split("=", 1) for assignment in given.env)
    given.root.mkdir(parents=True, exist_ok=True)
    stages, last = carry_out(given.file, given.root, seen, variables, given.keep)

    command = shlex.join(given.command or last.command)
    say(f"as {last.user}: {command}")
    code = last.execute(command, seen[:1])
    for label, stage in stages.items():
        size = run(["du", "-sh", "--one-file-system", stage.folder], capture_output=True, text=True)
        say(f"{label}: {size.stdout.split()[0]}")
    return code


if __name__ == "__main__":
    sys.exit(main())
