"""Recipes: tuned settings by option name, as the table ``[recipe]`` of a TOML file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment.options import declared, recipe_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_table(path: str | Path, what: str) -> dict[str, Any]:
    """Read a TOML file; a byte order mark is read over.

    Args:
        path: The file.
        what: What it is for, in messages.

    Raises:
        InputError: It cannot be read, or is not TOML.
    """
    try:
        table: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} is not TOML: {error}") from None
    return table


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Read the table ``[recipe]`` of a TOML file; a data set's description is one.

    Raises:
        InputError: The file cannot be read, has no such table, or the table holds what is not allowed.
    """
    recipe = read_table(path, "recipe").get("recipe")
    if not isinstance(recipe, dict):
        raise InputError(f"recipe {path} has no table [recipe]")
    for name in recipe:
        if name not in recipe_names():
            raise unknown(f"option in recipe {path}:", name, sorted(recipe_names()))
    return checked(recipe, f"recipe {path}")


def checked(recipe: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the values of options in the options' types.

    Raises:
        InputError: One is of another type.
    """
    try:
        return {name: declared()[name].check(value) for name, value in recipe.items()}
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


def recipe_text(recipe: Mapping[str, Any], comment: str) -> str:
    """Return the table ``[recipe]`` as TOML, with a comment below its head."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in recipe.items()]  # in these types TOML is JSON
    return "\n".join(["[recipe]", f"# {' '.join(comment.split())}", *lines, ""])


def with_recipe(text: str, recipe: Mapping[str, Any], comment: str) -> str:
    """Return a TOML text with another table ``[recipe]``; the rest of it stays as it is, byte for byte.

    Raises:
        InputError: The text is laid out in a way that this does not understand.
    """
    lines = text.splitlines(keepends=True)
    heads = [i for i, line in enumerate(lines) if line.startswith("[")]
    start = next((i for i in heads if re.match(r"\[\s*recipe\s*\]", lines[i])), len(lines))
    end = next((i for i in heads if i > start), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1  # what stands above the next table belongs to it
    newline = "\r\n" if "\r\n" in text else "\n"
    table = recipe_text(recipe, comment).replace("\n", newline)
    if text and start == len(lines):
        table = newline * (1 if text.endswith("\n") else 2) + table
    result = "".join([*lines[:start], table, *lines[end:]])
    wanted = json.loads(json.dumps(dict(recipe)))  # TOML has no tuples either
    if tomllib.loads(result) != {**tomllib.loads(text), "recipe": wanted}:
        raise InputError("the table [recipe] cannot be replaced in this file; write it to a file of its own")
    return result
