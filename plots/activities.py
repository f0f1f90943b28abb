#!/usr/bin/env python3
"""Runs pcxx_plots/activities.py, which says what it does; --help too."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from pcxx_plots import command

if __name__ == "__main__":
    sys.exit(command.run(__file__))
