"""Real OpenSSH keys for tests, and trust files that name them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ingest.signing import NAMESPACE, Trust


def make_key(directory: Path, name: str, passphrase: str = "") -> Path:
    """Make a key and return the path of its private half."""
    directory.mkdir(parents=True, exist_ok=True)
    key = directory / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(key)], check=True)
    return key


def public(key: Path) -> str:
    """Return the public half of a key, one line."""
    return key.with_name(f"{key.name}.pub").read_text().strip()


def line(principal: str, key: Path, namespaces: str = NAMESPACE) -> str:
    """Return the line of allowed_signers that trusts a key."""
    return f'{principal} namespaces="{namespaces}" {public(key)}\n'


def trust(*keys: Path, revoked: Path | None = None) -> Trust:
    """Return trust in keys, each under the name of its file."""
    return Trust("".join(line(key.name, key) for key in keys).encode(), public(revoked).encode() if revoked else b"")


def fingerprint(key: Path) -> str:
    """Return the fingerprint as ssh-keygen prints it."""
    done = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]
