"""What a run of the recipe is told; it is kept in the run folder and repeats the run."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from edgebed.errors import EdgebedError

SYNTHETIC: Final = "synthetic"
DEFAULT_TARGET: Final = "max78000"

# (float epochs, quantised epochs)
_EPOCHS: Final = {"synthetic": (22, 3), "own data": (120, 15)}


@dataclass(frozen=True)
class BedConfig:
    """Settings of one run.

    Attributes:
        recipe: name under which the run is filed.
        data: a data set's folder, or `synthetic` for the embedded scenes.
        network: `bed` or `bed-fast`.
        epochs: float epochs; 0 takes the default for the data.
        qat_epochs: quantisation-aware epochs; -1 takes the default for the data.
        weight_bits: bits of a weight, for all inner layers or one number per layer.
        max_drop: most that AP@0.5 may fall from float to integers (0.01 = one point).
        seed: of the scenes, the initial weights, the order and the augmentation.
        skip_bad: leave out defective annotations instead of stopping.
        target: the device.
        frames: test pictures that go through the board; 0 takes all.
    """

    recipe: str = "bed"
    data: str = SYNTHETIC
    network: str = "bed"
    epochs: int = 0
    qat_epochs: int = -1
    weight_bits: int | tuple[int, ...] = 8
    max_drop: float | None = None
    seed: int = 0
    skip_bad: bool = False
    target: str = DEFAULT_TARGET
    frames: int = 0

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise EdgebedError(f"--frames is {self.frames}", try_="0 for all, or how many")
        if self.epochs < 0:
            raise EdgebedError(f"--epochs is {self.epochs}", try_="1 or more")
        if self.qat_epochs < -1:
            raise EdgebedError(f"--qat-epochs is {self.qat_epochs}", try_="0 or more")
        if self.seed < 0:
            raise EdgebedError(f"--seed is {self.seed}", try_="0 or more")

    def resolved(self) -> BedConfig:
        """Return the same with every default filled in.

        A short float training given by hand shortens the quantised one by the same share.
        """
        epochs, quantised = _EPOCHS["synthetic" if self.data == SYNTHETIC else "own data"]
        if self.epochs:
            quantised = min(quantised, max(1, round(self.epochs * quantised / epochs)))
        return replace(
            self,
            epochs=self.epochs or epochs,
            qat_epochs=quantised if self.qat_epochs < 0 else self.qat_epochs,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plain form kept in `config.json`."""
        return asdict(self)

    @property
    def bits(self) -> str:
        """The weight bits as `--weight-bits` takes them."""
        bits = self.weight_bits
        return str(bits) if isinstance(bits, int) else ",".join(str(one) for one in bits)

    def command(self, out: str, *, resume: bool = False) -> str:
        """Return the command line that does this run, into folder `out`."""
        words = ["edgebed", "run", self.recipe, "--data", self.data, "--network", self.network]
        words += ["--epochs", str(self.epochs), "--qat-epochs", str(self.qat_epochs)]
        words += ["--weight-bits", self.bits]
        words += ["--seed", str(self.seed), "--target", self.target]
        words += ["--frames", str(self.frames)] if self.frames else []
        words += ["--max-drop", f"{self.max_drop:g}"] if self.max_drop is not None else []
        words += ["--skip-bad"] if self.skip_bad else []
        words += ["--out", out] + (["--resume"] if resume else [])
        return shlex.join(words)


def parse_weight_bits(text: str) -> int | tuple[int, ...]:
    """Read `8` or `8,4,4,8`.

    Raises:
        EdgebedError: something else.
    """
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or any(number not in (1, 2, 4, 8) for number in numbers):
        raise EdgebedError(
            f"{text!r} is not a weight width",
            where="--weight-bits",
            try_="8, 4, 2 or 1, or one of them per layer: 8,4,4,8",
        )
    return numbers[0] if len(numbers) == 1 else numbers
