"""The verbs. Each is named by its import path, so that help and typos cost no import."""

from __future__ import annotations

from typing import Final

from cyclopts import App, Parameter

from edgebed import __version__

HELP: Final = "From a neural network to a running edge device, real or virtual."
EPILOGUE: Final = (
    "Start with `edgebed demo`. Every verb takes --help, and --debug for a traceback.\n\n"
    "Exit codes: 0 done, 1 you can fix it, 2 a limit was missed or a fault found, 3 our bug."
)

VERBS: Final = {
    "demo": "Train, compile and run a detector on a virtual board, from nothing.",
    "run": "Run a whole recipe, or put inputs through a compiled folder.",
    "compile": "Turn a model into firmware or a library, tested before it is done.",
    "compress": "Quantise a float network within a budget of accuracy.",
    "bench": "Race a compiled network against other runtimes.",
    "compare": "Compare a library with the interpreter, or two traces layer by layer.",
    "observe": "Say what is wrong in a trace, and whether its inputs have drifted.",
    "trace": "Turn what a device sent over its serial line, or wrote to a file, into a trace.",
    "show": "Print a program, its device layers, memory map and cost.",
    "targets": "List the devices.",
    "doctor": "Say what is installed and what each missing extra would enable.",
}

app = App(
    name="edgebed",
    help=HELP,
    help_epilogue=EPILOGUE,
    help_format="markdown",  # as plain text, lines would break where the docstrings' lines do
    version=__version__,
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=(), show_default=False),
)
for _verb, _help in VERBS.items():
    app.command(f"edgebed.cli.{_verb}:{_verb}", name=_verb, help=_help)


def describe_fully(verb: str) -> None:
    """Let a verb's own help page show its whole docstring instead of the line above."""
    app[verb].help = None
