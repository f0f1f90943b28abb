"""Where the programs lie, and what they need around them. Of the standard library alone: the console commands
run this file without importing torch."""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

TORCH_SERIES = "2.13"  # LibTorch's binary interface changes with each
PROGRAMS = (
    "activities",
    "alignment",
    "autoencoder",
    "classifier",
    "inference",
    "regression",
    "reproduce",
    "runs",
    "trajectory",
)

_PACKAGE = Path(__file__).parent


def torch_fault() -> str:
    """Why the installed torch cannot be used, in one sentence; empty where it can."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return f"pcxx needs torch {TORCH_SERIES}, and there is no torch: pip install 'torch=={TORCH_SERIES}.*'"
    if version.split("+")[0].startswith(f"{TORCH_SERIES}."):
        return ""
    return f"pcxx needs torch {TORCH_SERIES}, not {version}: pip install 'torch=={TORCH_SERIES}.*'"


def program_path(name: str) -> Path:
    """The program of that name, "regression" or "pcxx-regression". It is looked for in the folder that the
    environment's PCXX_BIN names, in the package, and in the build that the package is part of. Throws ValueError for
    a program that there is not, and FileNotFoundError where it has not been built."""
    name = name.removeprefix("pcxx-")
    if name not in PROGRAMS:
        raise ValueError(f"there is no program '{name}': there are {', '.join(PROGRAMS)}")
    folders = [_PACKAGE / "bin", _PACKAGE.parents[1] / "bin"]
    if os.environ.get("PCXX_BIN"):
        folders.insert(0, Path(os.environ["PCXX_BIN"]))
    for folder in folders:
        path = folder / f"pcxx-{name}"
        if path.is_file():
            return path
    raise FileNotFoundError(f"there is no pcxx-{name} in {' or '.join(map(str, folders))}")


def environment() -> dict[str, str]:
    """The environment for a program: it finds torch where Python does, and draws figures by this Python."""
    result = dict(os.environ)
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.origin is not None:
        libraries = Path(torch.origin).parent / "lib"
        if libraries != _PACKAGE.parent / "torch" / "lib":
            result["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(libraries), result.get("LD_LIBRARY_PATH")]))
    if sys.executable and importlib.util.find_spec("matplotlib") is not None:
        result.setdefault("PCXX_PYTHON", sys.executable)
    return result


def main() -> None:
    """Becomes the program that the console command is called after."""
    if fault := torch_fault():
        sys.exit(fault)
    path = program_path(Path(sys.argv[0]).name)
    os.execve(path, [sys.argv[0], *sys.argv[1:]], environment())
