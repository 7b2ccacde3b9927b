"""The end-to-end systems, by name; each is a short composition of the rest."""

from __future__ import annotations

from typing import Final

RECIPES: Final = {
    "bed": "the paper's detector, camera to display",
    "bed-fast": "the same task with our network: a third of the time and energy",
}
