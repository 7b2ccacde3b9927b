"""The golden cases: the vendor's words in, the vendor simulator's results out, bit for bit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from accelerator_replay import load, write_all, wrong_words

from edgebed.targets.max78000 import Accelerator

_CASES = Path(__file__).parents[3] / os.environ.get("EDGEBED_CASES", "../shared/cases") / "max78000"
_NAMES = sorted(path.parent.name for path in _CASES.glob("*/device_words.npz"))
needs_cases = pytest.mark.skipif(not _NAMES, reason="EDGEBED_CASES: no max78000 cases")


@needs_cases
@pytest.mark.parametrize("name", _NAMES)
def test_case_is_bit_exact_and_takes_the_estimated_cycles(name: str) -> None:
    accelerator = Accelerator()
    words = load(accelerator, _CASES / name)
    result = accelerator.run()
    assert result.finished and accelerator.interrupt_pending
    assert not wrong_words(accelerator, words["expected_blocks"])[:5]
    latency = json.loads((_CASES / name / "meta.json").read_text())["latency"]
    assert [layer.scaled_cycles for layer in result.layers] == [one["cycles"] for one in latency]


@needs_cases
@pytest.mark.parametrize("name", _NAMES)
def test_every_layer_equals_the_simulators(name: str) -> None:
    accelerator = Accelerator()
    load(accelerator, _CASES / name)
    accelerator.run()
    config = json.loads((_CASES / name / "meta.json").read_text())["config"]
    with np.load(_CASES / name / "layer_outputs.npz") as expected:
        for index, got in enumerate(accelerator.layer_outputs()):
            want = expected[f"layer{index:02d}"]
            if _packed(config, index) and got.size == want.size:
                np.testing.assert_array_equal(got.reshape(want.shape), want, f"layer {index}")


def _packed(config: dict, index: int) -> bool:
    """Say whether output processors leave no gaps, so that columns are channels."""
    mask = int(config["output_processor_map"][index], 0)
    return mask & mask + (mask & -mask) == 0 and (mask & -mask).bit_length() % 4 == 1


@needs_cases
def test_same_configuration_runs_again_on_new_input() -> None:
    folder = _CASES / "test-conv2dk1x1-b-pool"
    if not folder.is_dir():
        pytest.skip("that case is not here")
    accelerator = Accelerator()
    words = load(accelerator, folder)
    accelerator.run()
    accelerator.sram[:] = 0
    accelerator.write32(0x50100000, 0x00100008)
    write_all(accelerator, words["start_writes"])
    accelerator.run()
    assert not accelerator.layer_outputs()[-1].any()  # no bias: zeros in, zeros out
    for name in words:
        if name.startswith("sram_"):
            accelerator.load_words(int(name.removeprefix("sram_"), 16), words[name])
    accelerator.write32(0x50100000, 0x00100008)
    write_all(accelerator, words["start_writes"])
    accelerator.run()
    assert not wrong_words(accelerator, words["expected_blocks"])
