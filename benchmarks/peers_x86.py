"""edgebed against LiteRT, ONNX Runtime and OpenVINO on this computer.

The MLPerf Tiny networks, MobileNet v1, and with --data two detectors that `edgebed compress`
quantised.

    python benchmarks/peers_x86.py CASES/models --out DIR [--threads 1,2] [--rounds 20]

Every runtime has a process of its own; rounds of 40 ms take turns; medians count. ONNX Runtime
gets the QDQ form of a network where MLPerf publishes one. The detectors are raced as integers
against the same networks as float32 in the other runtimes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgebed.observe.race import Contender, Result, race
from edgebed.observe.svg import Bar, bars, standalone
from edgebed.program.read import read_model
from edgebed.targets.host.build import compile_program

INTEGERS = {
    "keyword spotting": ("kws_ref_model.tflite", "kws_ref_model_qdq.onnx"),
    "visual wake words": ("vww_96_int8.tflite", "mobilenet_v1_qdq.onnx"),
    "ResNet-8": ("pretrainedResnet_quant.tflite", "resnet_qdq.onnx"),
    "autoencoder": ("ad01_int8.tflite", "deep_autoencoder_qdq.onnx"),
    "MobileNet v1 0.25/128": ("mobilenet_v1_0.25_128_quant.tflite", None),
}
DETECTORS = {
    "YuNet 320": ("yunet_n_320_320.onnx", ["--channels", "bgr", "--pixels", "0..255"]),
    "FastestDet 352": ("FastestDet.onnx", ["--channels", "bgr", "--pixels", "0..1"]),
}


def main() -> None:
    arguments = _arguments()
    rows: list[dict[str, Any]] = []
    for name, (model, other) in INTEGERS.items():
        path = arguments.models / model
        files = {"litert": path, "openvino": path}
        if other is not None:
            files["onnxruntime"] = arguments.models / other
        rows += _raced(name, _library(path, arguments.out), files, arguments)
    if arguments.data is not None:
        for name, (model, words) in DETECTORS.items():
            path = arguments.models / model
            small = _compressed(path, words, arguments)
            files = {"onnxruntime": path, "openvino": path}
            rows += _raced(f"{name}, ours int8", _library(small, arguments.out), files, arguments)
    _write(rows, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, help="folder of the networks' files")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for peers_x86.json and .svg"
    )
    parser.add_argument("--threads", default="1", help="counts, separated by commas: 1,2")
    parser.add_argument("--rounds", type=int, default=20, help="of about 40 ms, of each runtime")
    parser.add_argument("--data", type=Path, help="pictures that quantise the detectors")
    return parser.parse_args()


def _library(model: Path, out: Path) -> Path:
    folder = out / f"{model.stem}.library"
    compile_program(read_model(model), folder)
    return folder


def _compressed(model: Path, words: list[str], arguments: argparse.Namespace) -> Path:
    small: Path = arguments.out / f"{model.stem}_int8.onnx"
    if not small.is_file():
        command = [sys.executable, "-m", "edgebed", "compress", str(model), "--data"]
        command += [str(arguments.data), "--max-drop", "3%", "--out", str(small), *words]
        subprocess.run(command, check=True)
    return small


def _raced(
    name: str, library: Path, files: dict[str, Path], arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    rows = []
    for threads in (int(word) for word in arguments.threads.split(",")):
        field = [Contender("edgebed", library, threads)]
        field += [Contender(peer, path, threads) for peer, path in files.items()]
        results = race(field, rounds=arguments.rounds)
        rows.append(_row(name, threads, results))
        print(_line(rows[-1]), flush=True)
    return rows


def _row(name: str, threads: int, results: list[Result]) -> dict[str, Any]:
    ours, *others = results
    if not (ran := [one for one in others if one.refused is None]):
        sys.exit(f"{name}: no other runtime ran; {others[0].name}: {others[0].refused}")
    best = min(ran, key=lambda one: one.median_us)
    return {
        "network": name,
        "threads": threads,
        "best": best.name,
        "ratio": best.median_us / ours.median_us,
        "results": [one.to_json() for one in results],
    }


def _line(row: dict[str, Any]) -> str:
    times = "  ".join(
        f"{one['name']} {one['median_us']:.2f}" if one["refused"] is None else f"{one['name']} -"
        for one in row["results"]
    )
    ratio = f"{row['ratio']:.2f} x the best ({row['best']})"
    threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    return f"{row['network']:<26} {threads:<9}  {times} us (medians, measured)  {ratio}"


def _write(rows: list[dict[str, Any]], out: Path) -> None:
    fewest = min(row["threads"] for row in rows)
    mean = statistics.geometric_mean(row["ratio"] for row in rows if row["threads"] == fewest)
    print(f"geometric mean of the ratios, --threads {fewest}: {mean:.2f}")
    out.mkdir(parents=True, exist_ok=True)
    about = {"kind": "measured", "unit": "us", "processor": _processor(), "geometric_mean": mean}
    (out / "peers_x86.json").write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")
    drawn = [
        Bar(f"{row['network']}: {one['name']}", one["median_us"] / row["results"][0]["median_us"],
            f"{one['median_us']:.1f} us", colour=0 if one["name"] == "edgebed" else 6)
        for row in rows if row["threads"] == fewest for one in row["results"]
        if one["refused"] is None
    ]  # fmt: skip
    title = f"Time as a multiple of edgebed's, medians, measured, --threads {fewest}"
    (out / "peers_x86.svg").write_text(standalone(bars(drawn, width=760), title))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


if __name__ == "__main__":
    main()
