"""Frames per second of the virtual board, camera to display, on one core.

Usage: OMP_NUM_THREADS=1 python benchmarks/virtual_board.py DIR [FRAMES]

DIR is a compiled folder. Prints JSON; seconds are processor time of this process, so that other
work on the machine counts as little as possible, and wall time beside it.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from edgebed.targets.max78000.machine import VirtualBoard

REAL_FRAMES_PER_S = 10.9  # published: 91.9 ms per inference


def measure(folder: Path, frames: int) -> dict[str, float | int | str]:
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (4, 30, 40, 3)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    board = VirtualBoard()
    board.load(folder)
    for picture in scenes:
        board.show(picture)
    busy, wall = [], []
    for index in range(frames):
        before = time.process_time(), time.perf_counter()
        board.show(scenes[index % len(scenes)])
        busy.append(time.process_time() - before[0])
        wall.append(time.perf_counter() - before[1])
    board.close()
    rate = 1 / statistics.median(busy)
    return {
        "folder": folder.name,
        "frames": frames,
        "frames_per_s_median": round(rate, 1),
        "frames_per_s_best": round(1 / min(busy), 1),
        "frames_per_s_wall_median": round(1 / statistics.median(wall), 1),
        "times_the_published_board": round(rate / REAL_FRAMES_PER_S, 2),
        "kind": "measured",
    }


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    print(json.dumps(measure(Path(sys.argv[1]), count), indent=2))
