"""BED end to end: annotated pictures in, boxes on the display of a virtual board out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgebed import files
from edgebed.data.dataset import Dataset, Sample
from edgebed.deploy import bundle
from edgebed.errors import EdgebedError
from edgebed.events import Finished, Listener, Note, Progress, Started
from edgebed.observe import pictures
from edgebed.observe.drift_profile import LEAST
from edgebed.observe.drift_profile import NAME as PROFILE
from edgebed.observe.drift_source import profile_of_pictures
from edgebed.program import from_onnx, to_onnx
from edgebed.program.types import Array, Program
from edgebed.recipes.bed import data, score, summary
from edgebed.recipes.bed.config import DEFAULT_TARGET, SYNTHETIC, BedConfig
from edgebed.recipes.bed.outcome import OUTPUTS, Outcome
from edgebed.recipes.folder import RunFolder
from edgebed.recipes.stages import Result, Stages, recording
from edgebed.targets import load as load_target
from edgebed.targets.contract import LibraryTarget, Machine, Target
from edgebed.train.evaluate import Split

SCREENS: Final = 12
"""So many test pictures are put before the camera."""
PROFILED: Final = 300
"""So many pictures, of `val` first, give the statistics that travel with the program."""


def check(config: BedConfig) -> None:
    """Refuse before any work what would only fail after it.

    Raises:
        EdgebedError: network, weight bits, target or data folder do not exist.
    """
    from edgebed.train.networks import network

    network(config.network, 1).with_weight_bits(config.weight_bits)
    if isinstance(load_target(config.target), LibraryTarget):
        raise EdgebedError(
            "has no camera and no display",
            where=f"--target {config.target}",
            why="the recipe runs firmware on a board",
            try_=f"--target {DEFAULT_TARGET}; then edgebed compile RUN --target {config.target}",
        )
    if config.data != SYNTHETIC and not Path(config.data).is_dir():
        is_file = Path(config.data).exists()
        raise EdgebedError(
            "is a file, not a folder" if is_file else "no such folder",
            where=f"--data {config.data}",
            why="annotations and pictures lie together in a folder" if is_file else None,
            try_="a folder, or synthetic",
        )


def run(config: BedConfig, folder: RunFolder, listener: Listener) -> Outcome:
    """Do every stage that isn't done yet, and write report, metrics and model card.

    Args:
        config: every default filled in (`BedConfig.resolved`).
        folder: belongs to this run; the caller holds its lock.
        listener: hears the events, which are also kept in `events.jsonl`.

    Raises:
        EdgebedError: something that the user can fix.
        KeyboardInterrupt: Ctrl-C; finished stages and training epochs are on disk.
    """
    recorder = recording(folder.path / "events.jsonl", listener)
    work = _Work(config, folder, recorder)
    outcome = work.outcome()
    summary.write(outcome, work.dataset, work.program, work.target, recorder)
    return outcome


@dataclass
class _Work:
    """One run: what its stages share, each part made when it is first needed."""

    config: BedConfig
    folder: RunFolder
    listener: Listener
    stages: Stages = field(init=False)

    def __post_init__(self) -> None:
        self.stages = Stages(self.folder, self.listener)

    @cached_property
    def dataset(self) -> Dataset:
        return data.read(self.config)

    @cached_property
    def target(self) -> Target:
        return load_target(self.config.target)

    @cached_property
    def program(self) -> Program:
        return from_onnx.load(self.folder.path / bundle.PROGRAM)

    @cached_property
    def tested(self) -> tuple[str, tuple[Sample, ...]]:
        return data.scored(self.dataset)

    @cached_property
    def split(self) -> Split:
        name, samples = self.tested
        assert self.program.contract is not None  # training always writes one
        return Split.of(name, samples, self.program.contract.input)

    def outcome(self) -> Outcome:
        """Run the stages in order."""
        one = self.config
        found = self._data()
        results = {"data": found}
        fitting = {
            "network": one.network,
            "epochs": [one.epochs, one.qat_epochs],
            "weight_bits": one.weight_bits,
            "seed": one.seed,
            "data": found,
        }
        run = self.stages.run
        results["train"] = run("train", fitting, self._train, (bundle.PROGRAM,))
        device = (f"device/{bundle.PLAN}", f"device/{bundle.BUILD}")
        results["compile"] = run("compile", {"target": one.target}, self._compile, device)
        profile = (f"device/{PROFILE}",)
        results["profile"] = run("profile", {"pictures": PROFILED}, self._profile, profile)
        results["score"] = run("score", {"frames": one.frames}, self._score, (OUTPUTS,))
        results["frames"] = run("frames", {"screens": SCREENS}, self._frames, ("lcd.png",))
        return Outcome(self.folder, one, results, self.stages.seconds)

    def _data(self) -> Result:
        self.listener(Started("data", f"reading {self.config.data}"))
        found = data.summary(self.dataset)
        for line in found["left_out"]:
            self.listener(Note("data", f"left out: {line}"))
        self.listener(Finished("data", data.sentence(found)))
        return found

    def _train(self) -> Result:
        from edgebed.train.config import FitConfig
        from edgebed.train.export import to_program
        from edgebed.train.fit import fit

        one = self.config
        config = FitConfig(
            epochs=one.epochs,
            qat_epochs=one.qat_epochs,
            weight_bits=one.weight_bits,
            seed=one.seed,
        )
        place = self.folder.path / "train"
        # The run folder has decided what is kept: what other settings trained is done again.
        result = fit(one.network, self.dataset, config, place, self.listener, anew=True)
        notes = {"data": self.dataset.name, "made by": one.command("DIR")}
        program = to_program(result.model, result.contract, notes)
        to_onnx.save(program, self.folder.path / bundle.PROGRAM)
        return {
            "float": score.plain(result.float_metrics),
            "quantised": score.plain(result.quantised_metrics),
            "history": [dict(epoch) for epoch in result.history],
            "parameters": result.network.parameters,
            "kernel_bytes": result.network.kernel_bytes,
        }

    def _compile(self) -> Result:
        folder = self.folder.path / "device"
        built = bundle.build(self.program, self.target, folder, self.listener)
        return {"digest": built.plan["digest"], "sizes": built.sizes}

    def _profile(self) -> Result:
        """Leave what pictures and layers usually look like beside the program, for `observe`."""
        splits = self.dataset.splits
        chosen = (*splits.get("val", ()), *splits.get("train", ()))[:PROFILED]
        seen = [sample.load() for sample in chosen]
        if len(seen) < LEAST:
            self.listener(Note("profile", f"{len(seen)} pictures are too few for statistics"))
            (self.folder.path / "device" / PROFILE).unlink(missing_ok=True)
            return {"frames": 0}
        made = profile_of_pictures(self.program, seen, self.listener)
        made.save(self.folder.path / "device" / PROFILE)
        self.listener(Finished("profile", f"{made.frames} pictures, {len(made.tensors)} tensors"))
        return {"frames": made.frames, "tensors": len(made.tensors)}

    def _score(self) -> Result:
        name, samples = self.tested
        self.listener(Started("score", f"{len(samples)} {name} pictures, three ways"))
        expected = score.interpret(self.program, self.split.tensors, self.listener)
        self._keep(expected)
        count = min(self.config.frames or len(samples), len(samples))
        with self._booted() as machine:
            answered = score.on_board(machine, self.split.tensors[:count], expected, self.listener)
        whole = expected[self.program.outputs[0]]
        metrics = {"int8 program": score.plain(self._judged(whole, len(samples)))}
        metrics["virtual board"] = score.plain(self._judged(answered.outputs, count))
        self.listener(Finished("score", _scored(metrics, answered.compared)))
        return {
            "metrics": metrics,
            "pictures": count,
            "compared": answered.compared,
            "seconds_per_picture": answered.seconds,
            "figures": {key: one.to_json() for key, one in answered.figures.items()},
        }

    def _judged(self, outputs: Array, count: int) -> Any:
        split = self.split
        part = Split(split.name, split.tensors[:count], split.places[:count], split.truth[:count])
        return score.judged(self.program, outputs, part, coco=has_coco())

    def _keep(self, outputs: dict[str, Array]) -> None:
        import io

        content = io.BytesIO()
        np.savez_compressed(content, **outputs)  # type: ignore[arg-type]
        files.write_bytes(self.folder.path / OUTPUTS, content.getvalue())

    def _frames(self) -> Result:
        _, samples = self.tested
        shown = samples[: min(SCREENS, self.config.frames or SCREENS)]
        self.listener(Started("frames", f"{len(shown)} pictures before the camera"))
        with self._booted() as machine:
            screens = [self._screen(machine, i, one, len(shown)) for i, one in enumerate(shown)]
        sheet = pictures.contact_sheet([screen.pop("lcd") for screen in screens])
        pictures.write_png(self.folder.path / "lcd.png", sheet)
        self.listener(Finished("frames", f"{len(shown)} screens in {self.folder.path / 'lcd'}"))
        return {"screens": screens}

    def _screen(self, machine: Machine, index: int, sample: Sample, total: int) -> Result:
        clock = score.Clock(1)
        frame = machine.show(sample.load())
        path = f"lcd/{index:03d}_{sample.name}.png"
        pictures.write_png(self.folder.path / path, frame.lcd)
        self.listener(Progress("frames", index + 1, total, "screens"))
        return {
            "name": sample.name,
            "file": path,
            "lcd": frame.lcd,
            "seconds": clock.seconds(),
            "detections": frame.detections.tolist(),
            "figures": {key: one.to_json() for key, one in frame.trace.figures.items()},
        }

    @contextmanager
    def _booted(self) -> Iterator[Machine]:
        machine = self.target.machine()
        try:
            machine.load(self.folder.path / "device")
            yield machine
        finally:
            machine.close()


def _scored(metrics: dict[str, Result], compared: int) -> str:
    parts = [f"{name} AP@0.5 {one['ap50']:.3f}" for name, one in metrics.items()]
    return ", ".join(parts) + f"; {compared:,} integers compared, all equal"


def has_coco() -> bool:
    """Return whether the extra for COCO mAP is installed."""
    return find_spec("faster_coco_eval") is not None
