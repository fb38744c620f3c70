"""How large a wheel may be: above every wheel that was measured, below what would hurt this machine.

Measured on 1,600 wheels from the index, the largest in brackets. What a wheel declares is compared
before a byte of it is inflated; what it then holds must be exactly what it declared.
"""

from __future__ import annotations

MAX_MEMBERS = 50_000
"""[cmeel-boost: 16,235; tensorflow-cpu: 15,632]"""
MAX_DIRECTORY_BYTES = 8 << 20
"""Bytes of the zip's table of contents, all of which is held in memory. [tensorflow-cpu: 2.4 MB]"""
MAX_MEMBER_BYTES = 2 << 30
"""The limit on a file in the sandbox that environments are built in. [nvidia-cudnn: 0.5 GB]"""
MAX_TOTAL_BYTES = 4 << 30
"""Unpacked size; also the reach of sizes that need no zip64. [tensorflow-cpu: 1.3 GB, torch: 1.1 GB]"""
MAX_RATIO = 50
"""Unpacked to packed, of the whole wheel; single members honestly reach 1,000. [xyzservices: 18]"""
RATIO_FREE_BYTES = 16 << 20
"""Below this unpacked size no ratio is looked at."""
MAX_RECORD_BYTES = 16 << 20
"""[cmeel-boost: 1.9 MB]"""
MAX_TEXT_BYTES = 1 << 20
"""METADATA, WHEEL, entry_points.txt and start-up files, each parsed in memory. [mujoco: 0.23 MB]"""
MAX_TAGS = 500
"""Tags that one file name or Tag line stands for: a name of 250 characters could mean 70,000. [below 20]"""
MAX_NAMESPACES = 200
"""__init__.py files per wheel that are parsed to see whether they only declare a namespace. [2]"""
MAX_NAME_BYTES = 400
"""Path inside the wheel: the folder of an environment comes before it. [orbax-checkpoint: 227]"""
MAX_PART_BYTES = 255
"""One name of a path, on every file system of ours."""
MAX_FAULTS = 20
"""Faults that are listed per wheel; the first ones say enough."""
