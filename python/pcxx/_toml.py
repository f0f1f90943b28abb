"""Python values as the programs' TOML has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ._core import UserError


@dataclass(frozen=True)
class Range:
    """Evenly spaced numbers, which the programs write as a range."""

    begin: float
    end: float
    points: int
    scale: str

    def __iter__(self) -> Any:
        for i in range(self.points):
            part = i / (self.points - 1) if self.points > 1 else 0.0
            if self.scale == "log":
                yield math.exp(math.log(self.begin) * (1 - part) + math.log(self.end) * part)
            else:
                yield self.begin * (1 - part) + self.end * part

    def toml(self) -> str:
        """As a config has it."""
        ends = f"from = {_number(self.begin)}, to = {_number(self.end)}"
        return f'{{ {ends}, points = {self.points}, scale = "{self.scale}" }}'


def logspace(begin: float, end: float, points: int) -> Range:
    """`points` numbers from `begin` to `end`, evenly spaced in their logarithm: logspace(1e-3, 1, 10). The ends are
    the numbers themselves, not exponents."""
    return Range(float(begin), float(end), int(points), "log")


def linspace(begin: float, end: float, points: int) -> Range:
    """`points` evenly spaced numbers from `begin` to `end`."""
    return Range(float(begin), float(end), int(points), "linear")


def value(of: Any, key: str = "") -> str:
    """One value in one line. Throws UserError, which names the key, for what TOML has no word for."""
    if hasattr(of, "tolist"):  # numpy and torch
        of = of.tolist()
    if isinstance(of, Range):
        return of.toml()
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, (int, float)):
        return _number(of)
    if isinstance(of, (str, PurePath)):
        return _text(str(of))
    if str(of).startswith("torch.float"):
        return _text(str(of).removeprefix("torch."))
    if isinstance(of, Mapping):
        return "{ " + ", ".join(f"{name} = {value(one, key)}" for name, one in of.items()) + " }"
    if isinstance(of, Iterable):
        return "[" + ", ".join(value(one, key) for one in of) + "]"
    raise UserError(f"{key} = {of!r} is no number, text, true or false, or list of these")


def document(keys: Mapping[str, Any]) -> str:
    """A whole config. A list of mappings, as of `models` and `layers`, becomes a table each."""
    plain = {name: one for name, one in keys.items() if not is_tables(one)}
    lines = [f"{name} = {value(one, name)}" for name, one in plain.items()]
    for name, tables in keys.items():
        if name in plain:
            continue
        for table in tables:
            lines += ["", f"[[{name}]]"] + [f"{key} = {value(one, key)}" for key, one in table.items()]
    return "\n".join(lines) + "\n"


def is_tables(of: Any) -> bool:
    """Whether it is a list of mappings."""
    return isinstance(of, (list, tuple)) and len(of) > 0 and all(isinstance(one, Mapping) for one in of)


def _number(of: float) -> str:
    if isinstance(of, int):
        return str(of)
    if math.isfinite(of):
        return repr(float(of))
    return "nan" if math.isnan(of) else "inf" if of > 0 else "-inf"


def _text(of: str) -> str:
    escaped = of.replace("\\", "\\\\").replace('"', '\\"')
    for character in sorted({c for c in escaped if ord(c) < 32 or ord(c) == 127}):
        escaped = escaped.replace(character, f"\\u{ord(character):04X}")
    return f'"{escaped}"'
