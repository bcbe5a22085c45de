"""Options of commands: in sections of help, with values that complete; an experiment's from their declaration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from gamlp_admm.cli import config
from gamlp_admm.experiment.declaration import GROUPS, OUTPUT, Declared
from gamlp_admm.experiment.options import declared

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # of click before 8.4 it has no parameter
    ParamType = click.ParamType

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Numbers(ParamType):
    """Integers separated by commas, as a tuple; with ``single``, a lone one as it is."""

    name = "numbers"

    def __init__(self, single: bool = False) -> None:
        self.single = single

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See :meth:`click.ParamType.convert`."""
        try:
            numbers = tuple(int(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r}: allowed: integers separated by commas", param, ctx)
        return numbers[0] if self.single and len(numbers) == 1 else numbers


class Name(ParamType):
    """A name that completes in the shell; with ``several``, names separated by commas, as a tuple.

    Args:
        known: Returns the names to complete; called only when they are asked for.
        several: Whether there may be several.
    """

    name = "text"

    def __init__(self, known: Callable[[], Sequence[str]] = tuple, several: bool = False) -> None:
        self.known, self.several = known, several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See :meth:`click.ParamType.convert`."""
        return tuple(name.strip() for name in str(value).split(",")) if self.several else str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """See :meth:`click.ParamType.shell_complete`."""
        before, comma, last = incomplete.rpartition(",") if self.several else ("", "", incomplete)
        return [CompletionItem(before + comma + name) for name in self.known() if name.startswith(last)]


class SectionOption(click.Option):
    """An option that help shows in a section.

    Args:
        section: Title of the section.
        declared: The declaration that it is made of, if it is one of an experiment.
    """

    def __init__(self, *names: Any, section: str = OUTPUT, declared: Declared | None = None, **more: Any) -> None:
        super().__init__(*names, **more)
        self.section, self.declared = section, declared


def option(name: str, kind: Any = None, default: str | None = None, **more: Any) -> Decorator:
    """Return an option whose value is ``None`` unless given; ``default`` is what the help says."""
    help = _with_default(more.pop("help"), default)
    return click.option(name, type=kind, default=None, help=help, cls=SectionOption, **more)


def flag(name: str, help: str, section: str = OUTPUT) -> Decorator:
    """Return an option without a value."""
    return click.option(name, is_flag=True, help=help, section=section, cls=SectionOption)


def _with_default(help: str, default: str | None) -> str:
    return help if default is None else f"{help}  [default: {default}]"


def of_experiment(each: Declared) -> SectionOption:
    """Return the option of the command line that a declaration makes."""
    names, more = _made_of(each)
    return SectionOption(names, **more)


def _made_of(each: Declared) -> tuple[list[str], dict[str, Any]]:
    row, name = each.option, "--" + each.name.replace("_", "-")
    help = f"{row.help} {', '.join(row.allowed())}." if row.listed else row.help
    help = _with_default(help, row.default_text())
    shared: dict[str, Any] = {"help": help, "section": row.group, "declared": each, "default": None}
    if bool in each.kinds:
        return [f"{name}/{row.off}"] if row.off else [name], {**shared, "is_flag": True}
    kind: Any = Name(row.allowed) if row.names else str
    if tuple in each.kinds and str not in each.kinds:
        kind = Numbers(single=int in each.kinds)
    elif each.kinds <= {int, float}:
        kind = float if float in each.kinds else int
    names = [each.name, name, *(["--" + row.former.replace("_", "-")] if row.former else [])]
    return names, {**shared, "type": kind, "metavar": row.metavar}


def shared(name: str, kind: Any = None, default: str | None = None) -> Decorator:
    """Return an option of an experiment for a command that does not take all of them.

    Args:
        name: Its name.
        kind: Type of its value on the command line, where it is another there.
        default: What the help says of the default; ``None`` for what is declared.
    """
    each = declared()[name]
    names, more = _made_of(each)
    if kind is not None:
        more |= {"type": kind, "declared": None}
    if default is not None:
        more["help"] = _with_default(each.option.help, default)
    return click.option(*names, cls=SectionOption, **more)


def own_graph(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--data`` and the options of what is in it."""
    for name in reversed(("data", "label", "features", "id", "weight", "split_index")):
        command = shared(name)(command)
    return command


root = shared("root")


class SectionCommand(click.Command):
    """A command whose help is in sections, and whose options a file can give.

    Args:
        experiment: Whether it takes the options of an experiment, too.
        without: Those of them that it does not take.
    """

    def __init__(self, *args: Any, experiment: bool = False, without: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.experiment, self.without = experiment, without
        self._made: dict[tuple[str, ...], SectionOption] = {}
        self._file = config.options(SectionOption)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """See :meth:`click.Command.get_params`; those that other packages have declared by now are among them."""
        taken = [each for each in declared().values() if each.name not in self.without] if self.experiment else []
        return [*map(self._option, taken), *self._file, *super().get_params(ctx)]

    def _option(self, each: Declared) -> SectionOption:
        # Made once, as click takes for granted, and anew where help lists names that have become more.
        key = (each.name, *(each.option.allowed() if each.option.listed else ()))
        if key not in self._made:
            self._made[key] = of_experiment(each)
        return self._made[key]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :meth:`click.Command.format_options`."""
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in GROUPS}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                rows.setdefault(getattr(parameter, "section", OUTPUT), []).append(record)
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """See :meth:`click.Command.invoke`; ``--print-config`` prints the file of options instead."""
        ctx.params.pop("config", None)
        if ctx.params.pop("print_config", False):
            click.echo(config.text(ctx), nl=False)
            return None
        return super().invoke(ctx)
