"""What one run inside the sandbox may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one sandboxed process tree."""

    wall_s: float = 300.0
    """Wall clock, counted from the start of the process."""
    cpu_s: int = 1_200
    """CPU seconds per process."""
    address_space_bytes: int = 4 << 30
    """Address space per process; a process that asks for more gets ENOMEM."""
    memory_bytes: int = 3 << 30
    """Memory of the whole process tree with everything it keeps in memory files; needs control groups."""
    file_bytes: int = 256 << 20
    """Largest file a process may write."""
    scratch_bytes: int = 512 << 20
    """Size of the private in-memory file system that holds the tree, HOME and TMPDIR."""
    processes: int = 512
    """Processes and threads of the run."""
    open_files: int = 1_024
    output_bytes: int = 64 << 10
    """How much of the end of stdout and stderr is kept; the rest is counted and dropped."""
    record_bytes: int = 96 << 20
    """How much the result pipe may carry before the run is stopped."""
