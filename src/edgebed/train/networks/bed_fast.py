"""Our detector for the same task, designed from the accelerator's cost law.

A layer costs about passes * output pixels * (output channels + 4) cycles, whatever the number of
input channels up to 64. So a picture with 3 channels wastes 61 of 64 processors: here blocks of
4 x 4 pixels are folded into 48 channels first, and no map is larger than 56 x 56. The first layer
has 40 outputs: with them the whole network needs less than a third of `bed`'s multiplications as
well, so its energy is below a third however energy splits between time and arithmetic. Later
layers keep all 64 processors busy. The output grid is 14 x 14, fine enough for small objects.
"""

from __future__ import annotations

from edgebed.program.contract import GridDecode
from edgebed.train.networks.spec import LayerSpec, Network

# (output channels, kernel, pool before the convolution)
_LAYERS = (
    (40, 3, 1),
    (64, 3, 2),
    (64, 3, 1),
    (64, 3, 2),
    (64, 3, 1),
    (64, 3, 1),
    (64, 3, 1),
    (64, 1, 1),
)


def bed_fast(classes: int) -> Network:
    """Return the network for `classes` classes: (5 + classes) x 14 x 14 out, one box per cell."""
    layers = [
        LayerSpec(
            name=f"conv{index}",
            in_channels=48 if index == 0 else _LAYERS[index - 1][0],
            out_channels=out,
            kernel=kernel,
            pad=kernel // 2,
            pool=pool,
        )
        for index, (out, kernel, pool) in enumerate(_LAYERS)
    ]
    head = LayerSpec(
        "head", 64, 5 + classes, kernel=1, pad=0, norm="none", activation="none", wide=True
    )
    decode = GridDecode(
        grid_width=14,
        grid_height=14,
        boxes=1,
        priors=((0.25, 0.25),),
        size="squared",
        stretch=2.0,
    )
    return Network(
        "bed-fast", 3, 224, 224, fold=4, layers=(*layers, head), decode=decode, fit_priors=True
    )
