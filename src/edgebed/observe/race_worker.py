"""One contender of a race: reads orders as JSON lines, answers with times in microseconds."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from edgebed.errors import EdgebedError
from edgebed.observe.peers import open_peer, random_inputs


def main(arguments: list[str]) -> int:
    """Serve until standard input ends. Arguments: runtime, model, threads, seed."""
    name, path, threads, seed = arguments
    try:
        peer = open_peer(name, Path(path), int(threads))
        peer.give(random_inputs(peer.inputs(), int(seed)))
        peer.compute()
    except EdgebedError as error:
        _say({"refused": str(error)})
        return 1
    _say({"version": peer.version, "outputs": [one.tolist() for one in peer.outputs()]})
    clock, compute = time.perf_counter_ns, peer.compute
    for line in sys.stdin:
        times = []
        for _ in range(int(json.loads(line)["runs"])):
            start = clock()
            compute()
            times.append(clock() - start)
        _say({"us": [one / 1000 for one in times]})
    return 0


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
