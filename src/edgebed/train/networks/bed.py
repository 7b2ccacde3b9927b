"""The detector of "BED: A Real-Time Object Detection System for Edge Devices" (2202.07503).

24 layers, 3 x 224 x 224 in, (10 + classes) x 7 x 7 out: two boxes and the class scores per cell.
"""

from __future__ import annotations

from edgebed.program.contract import GridDecode
from edgebed.train.networks.spec import LayerSpec, Network

# (output channels, kernel, pool before the convolution); padding keeps the size.
_LAYERS = (
    (64, 3, 1),
    (24, 3, 2),
    (16, 1, 2),
    (32, 3, 1),
    (32, 1, 1),
    (64, 3, 1),
    (32, 1, 2),
    (64, 3, 1),
    (32, 1, 1),
    (64, 3, 1),
    (32, 1, 1),
    (64, 3, 1),
    (32, 1, 2),
    (64, 3, 1),
    (32, 1, 1),
    (64, 3, 1),
    (64, 3, 1),
    (64, 3, 1),
    (64, 3, 2),
    (64, 3, 1),
    (64, 1, 1),
    (16, 1, 1),
    (16, 1, 1),
)
_PLAIN = 3  # the first three layers stream and have neither bias nor normalisation


def bed(classes: int) -> Network:
    """Return the network for `classes` classes (15 output channels for five).

    The published description normalises after every layer from the fourth on. We leave the
    output layer out: a confidence with zero mean and unit variance cannot say "nothing here" for
    most cells. The deployed layers are the same, since normalisation is folded away.
    """
    layers = [
        LayerSpec(
            name=f"conv{index}",
            in_channels=3 if index == 0 else _LAYERS[index - 1][0],
            out_channels=out,
            kernel=kernel,
            pad=kernel // 2,
            pool=pool,
            bias=index >= _PLAIN,
            norm="plain" if index >= _PLAIN else "none",
        )
        for index, (out, kernel, pool) in enumerate(_LAYERS)
    ]
    head = LayerSpec(
        "conv23", 16, 10 + classes, kernel=1, pad=0, norm="none", activation="none", wide=True
    )
    decode = GridDecode(grid_width=7, grid_height=7, boxes=2, priors=((1.0, 1.0), (1.0, 1.0)))
    return Network("bed", 3, 224, 224, fold=1, layers=(*layers, head), decode=decode)
