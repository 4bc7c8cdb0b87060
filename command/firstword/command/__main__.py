"""The `firstword` command: finds the subcommand that was typed and imports that one alone, so that help comes at once."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any, cast

from firstword.telemetry.extras import needed

with needed("audit", "the command firstword"):
    import typer
    from typer.core import TyperCommand, TyperGroup
    from typer.main import get_command

from firstword.command.edge import guarded
from firstword.command.process_end import ProcessEnd
from firstword.command.signals import end_as_by_ctrl_c

SUBCOMMANDS = {
    "audit": "Call any LiveKit agent, and say what its caller waited for, by line of its source.",
    "rehearse": "Call the worker with synthetic callers and compare profiles, side by side in one run.",
    "up": "Run LiveKit, collector, Jaeger and worker on this machine until Ctrl-C.",
    "doctor": "Say what is there, what is missing, and what to type.",
    "account": "List, show, write and delete accounts of the shipped store.",
    "critical-chain": "Show what one caller waited for, from the first word back.",
    "sessions": "List the sessions whose callers waited longest: when, how long, how it ended, what they waited for most.",
    "blame": "Show what made callers wait, task by task, over many sessions.",
    "plot": "Draw the waterfall of one session, or where the time of many goes, as SVG or HTML.",
    "what-if": "Predict the time to first word if tasks were shorter, earlier, deferred or gone.",
    "compare": "Compare the variants of a flag: time to first word, initialization, errors, and a verdict in words.",
    "tune": "Say which flag to start, ramp, hold or turn back, and why; with --apply do it.",
    "rescue": "Call another agent to callers whose agent has died, until Ctrl-C.",
    "check": "Exit 1 and print one line for each objective missed.",
    "save": "Write p50, p90 and p99 of time to first word, initialization and each task to a small file.",
    "diff": "Say what became of each figure since `firstword save`: faster, slower, the same, or not sure yet.",
}
"""Name of a subcommand -> its line of help. The module of that name (with underscores) has a function `command`."""


IN_TUNING = frozenset({"compare", "tune", "check", "save", "diff"})
"""Subcommands that share the page docs/tuning.md; each of the others has a page of its name."""


_HELP = {"help_option_names": ["-h", "--help"]}


class Lazy(TyperGroup):
    """The group of subcommands, which imports a subcommand when it is run or completed, not to list it."""

    # The context's class is typer's own click's, which is private.
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, TyperCommand | None, list[str]]:
        """Returns the name of the subcommand that `args` begin with, the imported subcommand, and the arguments after its name."""
        if args == ["help"]:
            typer.echo(ctx.get_help())
            ctx.exit()
        if args[0] == "help":
            args = [*args[1:], "--help"]
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and imported(command.name or ""), rest


def imported(name: str) -> TyperCommand:
    """Imports the subcommand of that name, and returns it. Ends the program where what it needs is not installed."""
    with needed("audit", f"firstword {name}"):
        module = importlib.import_module(f"firstword.command.{name.replace('-', '_')}")
    alone = typer.Typer(
        add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False, context_settings=_HELP
    )
    alone.command(name, epilog=_epilog(name))(module.command)
    return cast("TyperCommand", get_command(alone))  # of one command and no callback it makes no group


def _epilog(name: str) -> str:
    """What a page of a manual ends with."""
    status = "**Exit status** 0 done; 1 it went wrong or fell short; 2 what was typed or set is wrong; 130 Ctrl-C, SIGTERM or SIGHUP."
    return f"{status}\n\n**See also** docs/{_page(name)}.md of the repository."


def _page(name: str) -> str:
    return "tuning" if name in IN_TUNING else "accounts" if name == "account" else name


app = typer.Typer(
    cls=Lazy,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


def _listed() -> None:
    """Stands for a subcommand in the list; never runs."""


for _name, _help in SUBCOMMANDS.items():
    app.command(_name, help=_help)(_listed)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"firstword {version('firstword')}")
        raise typer.Exit


@app.callback()
def firstword(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Why a voice agent's caller waited for the first word, and what to do about it.

    New here? `firstword rehearse` needs no key and no server. It builds or finds a LiveKit server, runs the agent with simulated providers,
    calls it, and prints how long callers waited, untuned and tuned. `firstword doctor` says what this machine has and lacks. `firstword
    COMMAND --help` has examples.
    """


def main() -> None:
    """Runs the command that was typed, and exits with its exit code."""
    end = ProcessEnd()
    end_as_by_ctrl_c()
    sys.exit(end.with_code(guarded(app)))


if __name__ == "__main__":
    main()
