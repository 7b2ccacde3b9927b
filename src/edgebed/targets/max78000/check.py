"""Does it fit? Every broken limit with layer, number and the nearest change that fits."""

from __future__ import annotations

from edgebed.errors import EdgebedError
from edgebed.program.types import Program
from edgebed.targets.contract import Problem
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.hints import Project
from edgebed.targets.max78000.limits import layer_problems, op_problems
from edgebed.targets.max78000.lowering import lower


def check(source: Program | Project) -> list[Problem]:
    """Return every reason why a program, or a project as it is laid out, does not fit.

    Ops and settings come first; where all of these fit, sizes of device layers; then placement,
    which stops at the first tensor or memory that finds no room.
    """
    program = source.program if isinstance(source, Project) else source
    hints = source.layers if isinstance(source, Project) else ()
    problems = op_problems(program)
    if problems:
        return problems
    try:
        problems = layer_problems(lower(program, hints))
        if not problems:
            return list(compile_program(source).warnings)
    except EdgebedError as error:
        return [_problem(program, error)]
    return problems


def _problem(program: Program, error: EdgebedError) -> Problem:
    return Problem(
        layer=error.where or program.name,
        what=error.what,
        limit=error.why or "the placement must be readable by the device",
        try_=error.try_ or "another placement, or planning it anew",
    )
