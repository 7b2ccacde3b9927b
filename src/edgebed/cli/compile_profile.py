"""`edgebed compile --profile`: reference statistics go into the compiled folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgebed.errors import EdgebedError

if TYPE_CHECKING:
    from edgebed.deploy.bundle import Bundle
    from edgebed.events import Listener


def check_profile(source: Path | None, only_generate: bool) -> None:
    """Refuse before the compile what would fail after it.

    Raises:
        EdgebedError: there is no such file or folder, or nothing is built.
    """
    if source is None:
        return
    if only_generate:
        raise EdgebedError("--profile has no meaning with --only-generate")
    if not source.exists():
        raise EdgebedError(
            "no such file or folder", where=f"--profile {source}",
            try_="a trace of good frames, a .npy or .npz file, or a folder of pictures",
        )  # fmt: skip


def write_profile(built: Bundle, source: Path | None, listener: Listener) -> None:
    """Write the profile of `source` beside a compiled program, or say that one there is stale.

    Raises:
        EdgebedError: `source` cannot be read, does not fit the program, or is too short.
    """
    from edgebed.events import Finished, Note
    from edgebed.observe.drift_profile import NAME, Profile
    from edgebed.observe.drift_source import profile_from
    from edgebed.observe.recorders.described import digest

    place = built.folder / NAME
    if source is not None:
        made = profile_from(built.program, source, listener)
        made.save(place)
        text = f"{made.frames} frames, {len(made.tensors)} tensors, {place.stat().st_size:,} bytes"
        listener(Finished("profile", f"{place}: {text}"))
    elif place.is_file() and Profile.load(place).digest != digest(built.program):
        why = "was made with another program, or another form of it"
        listener(Note("profile", f"{place} {why}; --profile makes it anew"))
