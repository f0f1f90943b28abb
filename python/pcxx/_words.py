"""Keyword arguments as the values of the keys of a config, in TOML."""

import json
from typing import Any

import torch

Words = list[tuple[str, str]]


def words(**keys: Any) -> Words:
    """Those that are not None."""
    return [(key, word(value)) for key, value in keys.items() if value is not None]


def word(value: Any, inside: bool = False) -> str:
    """A value as TOML; a text on its own stands without quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value) if inside else value
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(word(item, True) for item in value) + "]"
    if hasattr(value, "item"):  # a number of numpy or torch
        return word(value.item())
    return repr(value)
