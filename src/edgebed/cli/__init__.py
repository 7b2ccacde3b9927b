"""The command line: one file a verb, imported when the verb is used.

Exit codes: 0 done; 1 something the user can fix; 2 done, but a limit that the user gave was
missed; 3 a bug of ours; 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgebed.errors import EdgebedError, did_you_mean

OK, USER, BUDGET, BUG, STOPPED = 0, 1, 2, 3, 130


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; messages go to standard error."""
    words = [word for word in arguments if word != "--debug"]
    debug = len(words) < len(arguments)
    from cyclopts import CycloptsError

    from edgebed.cli.app import VERBS, app, describe_fully

    try:
        if words and not words[0].startswith("-") and words[0] not in VERBS:
            raise EdgebedError(f"unknown verb {words[0]!r}", try_=did_you_mean(words[0], VERBS))
        if words and words[0] in VERBS and not {"--help", "-h"}.isdisjoint(words):
            describe_fully(words[0])
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except EdgebedError as error:
        return _fail(str(error), error.exit_code, debug)
    except CycloptsError as error:
        return _fail(_usage(error, words), USER, debug)
    except KeyboardInterrupt as error:
        kept = f"; {error}" if str(error) else ""
        return _fail(f"stopped{kept}", STOPPED, debug=False)
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) left; nobody is there to be told
        return OK
    except ModuleNotFoundError as error:
        return _missing(error, debug)
    except Exception as error:
        return _bug(error, debug)
    return result if isinstance(result, int) else OK


def _usage(error: Exception, words: Sequence[str]) -> str:
    verb = f" {words[0]}" if words and not words[0].startswith("-") else ""
    return f"{' '.join(str(error).split())} See: edgebed{verb} --help"


def _missing(error: ModuleNotFoundError, debug: bool) -> int:
    from edgebed.cli.extras import extra_for

    extra = extra_for(error.name or "")
    if extra is None:
        return _bug(error, debug)
    text = f"the package {error.name} is not installed; try: {extra.command}"
    return _fail(text, USER, debug)


def _bug(error: Exception, debug: bool) -> int:
    line = " ".join(str(error).split())[:200]
    text = f"a bug in edgebed: {type(error).__name__}: {line}"
    return _fail(text + ("" if debug else "; add --debug for the traceback"), BUG, debug)


def _fail(text: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"edgebed: {text}", file=sys.stderr)
    return code
