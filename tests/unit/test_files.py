"""Files that are written whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgebed import files
from edgebed.errors import EdgebedError

LIMITED = """
import resource, signal, sys
from pathlib import Path
from edgebed import files
from edgebed.errors import EdgebedError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    files.write_bytes(Path(sys.argv[1]), b"n" * 1_000_000)
except EdgebedError as error:
    print(error)
"""

WRITER = """
import sys
from pathlib import Path
from edgebed import files
path, turn = Path(sys.argv[1]), 0
while True:
    files.write_bytes(path, bytes([turn % 256]) * 3_000_000)
    turn += 1
"""


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_folders_are_made_and_text_is_utf8(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "Grüße, 熊")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes().decode() == "Grüße, 熊"
    assert names(tmp_path / "a" / "b") == ["c.txt"]


def test_others_may_read_the_file(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "x", b"1")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX systems")
def test_a_write_that_stops_half_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    assert f"{path}: cannot write: File too large" in done.stdout
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"], "nothing half written is left behind"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"x: no space left on the disk; try: free some space"),
        (errno.EIO, r"x: cannot write: Input/output error; try: another --out folder"),
    ],
)
def test_the_disks_answer_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(EdgebedError, match=said):
        files.write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_ctrl_c_while_writing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "x", b"new")
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="devices of POSIX systems")
def test_devices_are_written_to_and_not_replaced() -> None:
    files.write_bytes(Path(os.devnull), b"gone")
    assert Path(os.devnull).is_char_device()
    if Path("/dev/full").is_char_device():
        with pytest.raises(EdgebedError, match="/dev/full: no space left on the disk"):
            files.write_bytes(Path("/dev/full"), b"much")
        assert Path("/dev/full").is_char_device()


def test_a_folder_or_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(EdgebedError, match=r"folder: cannot write: Is a directory"):
        files.write_bytes(tmp_path / "folder", b"1")
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgebedError, match="cannot write"):
        files.write_bytes(tmp_path / "file" / "x", b"1")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
def test_a_killed_writer_never_leaves_half_a_file(tmp_path: Path) -> None:
    for pause in (0.0, 0.01, 0.03):
        path = tmp_path / f"{pause}" / "x"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1
