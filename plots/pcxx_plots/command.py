"""What the scripts beside this package have in common: it is imported where numpy or matplotlib may be
missing."""

import importlib
import os
import sys
from pathlib import Path


def run(script):
    """Runs the module of the script's name, and returns the exit code."""
    path = Path(script)
    os.environ["MPLBACKEND"] = "Agg"  # pictures are files; and Jupyter's own may be missing
    try:
        module = importlib.import_module(f".{path.stem}", __package__)
    except ImportError as error:
        reason = " ".join(str(error).split())
        print(f"{path.name}: {sys.executable} has not what figures need: {reason}", file=sys.stderr)
        return 2
    return module.main()
