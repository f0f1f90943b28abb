#!python
# One of the programs as a console command; the name of this file says which. torch is not imported.
import importlib.util
import runpy
import sys
from pathlib import Path

package = importlib.util.find_spec("pcxx")
if package is None or package.origin is None:
    sys.exit("there is no package pcxx for this Python")
runpy.run_path(str(Path(package.origin).with_name("_programs.py")))["main"]()
