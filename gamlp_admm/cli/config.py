"""A command's options in a file: TOML by option name, or the report of a run, which repeats it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment.declaration import OUTPUT, WORDS
from gamlp_admm.experiment.options import declared, renamed
from gamlp_admm.experiment.recipe import read_table

FILE, PRINT = "config", "print_config"


def options(make: Callable[..., click.Option]) -> list[click.Option]:
    """Return ``--config`` and ``--print-config``.

    Args:
        make: Makes an option.
    """
    return [
        make(
            ["--config"],
            type=Path,
            metavar="FILE",
            is_eager=True,
            callback=_load,
            help="Read options from a TOML file, or those of a run from its run.json; the command line wins.",
        ),
        make(["--print-config"], is_flag=True, help="Print such a file with what is given and all comments, and stop."),
    ]


def _load(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and not ctx.resilient_parsing:
        ctx.default_map = read(path, ctx.command, ctx)
    return path


def read(path: Path, command: click.Command, ctx: click.Context) -> dict[str, Any]:
    """Return a file's options, by name, in a form that the command line's types take.

    Args:
        path: The file.
        command: Whose options they are.
        ctx: Its context.

    Raises:
        InputError: The file cannot be read, or has something that is no option of the command or of another type.
    """
    allowed = {str(p.name): p for p in _settable(command, ctx)}
    given = _report(path, allowed) if path.suffix == ".json" else read_table(path, "config")
    found: dict[str, Any] = {}
    for key, value in given.items():
        ((name, _),) = renamed({key.replace("-", "_"): value}).items()
        if name not in allowed:
            raise unknown(f"option in {path}:", key, allowed)
        try:
            found[name] = _value(allowed[name], value)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return found


def _settable(command: click.Command, ctx: click.Context) -> list[click.Option]:
    """Return the options that a file can give: those with a section in help, but for the file's own."""
    sections = [p for p in command.get_params(ctx) if isinstance(p, click.Option) and hasattr(p, "section")]
    return [p for p in sections if p.name not in (FILE, PRINT)]


def _report(path: Path, allowed: Mapping[str, click.Parameter]) -> dict[str, Any]:
    """Return the options of the run, or of the runs from several seeds, that a report is of."""
    try:
        report = json.loads(path.read_text(encoding="utf-8-sig"))
        runs = report.get("runs", [report])
        config, seeds = dict(runs[0]["config"]), [*dict.fromkeys(run["seed"] for run in runs)]
    except OSError as error:
        raise InputError(f"config {path} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise InputError(f"config {path} is not the report of a run, as --log-dir and --json write it") from None
    if len(seeds) > 1 and "seeds" in allowed:
        config["seed"], config["seeds"] = None, seeds
    elsewhere = {name for name, each in declared().items() if each.option.group == OUTPUT or name not in allowed}
    return {name: value for name, value in config.items() if value is not None and name not in elsewhere}


def _value(parameter: click.Parameter, value: Any) -> Any:
    kinds = _kinds(parameter)
    if (mine := getattr(parameter, "declared", None)) is not None:
        value = mine.check(value)
    elif not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join("a list" if kind is list else WORDS[kind] for kind in kinds)
        raise InputError(f"{parameter.name} must be {words}, not {value!r}")
    if isinstance(value, list | tuple) and not parameter.multiple:
        return ",".join(map(str, value))
    return value


def _kinds(parameter: click.Parameter) -> tuple[type, ...]:
    """Return the types that a file may give an option that is none of an experiment."""
    if getattr(parameter, "is_flag", False):
        return (bool,)
    if parameter.multiple:
        return (list,)
    if isinstance(parameter.type, click.types.IntParamType):
        return (int,)
    if isinstance(parameter.type, click.types.FloatParamType):
        return (int, float)
    return (str, list, int) if parameter.type.name in ("numbers", "text") else (str,)


def text(ctx: click.Context) -> str:
    """Return a file with the options that are given, and the others as comments."""
    lines = [f"# Options of {ctx.command_path}; those in comments have their defaults."]
    section = None
    for parameter in _settable(ctx.command, ctx):
        name = str(parameter.name)
        if (title := getattr(parameter, "section", OUTPUT)) != section:
            section = title
            lines += ["", f"# --- {title}"]
        lines += ["", f"# {' '.join((parameter.help or '').split())}"]
        given = ctx.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)
        value = ctx.params.get(name)
        if given and value is not None:
            lines.append(f"{name} = {_toml(value)}")
        else:
            mine = getattr(parameter, "declared", None)
            default = None if mine is None else mine.option.default
            lines.append(f"# {name} = {'' if default is None else _toml(default)}".rstrip())
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return json.dumps(plain, ensure_ascii=False)  # in these types TOML is JSON
