"""Whom a prediction is about, as a keyed hash: enough to find their rows again, too little to tell who they are.

Without the key nobody can try names until a hash fits. Whoever asks and whoever erases must hold the same key.
"""

import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from contracts.quantities import ConfigError
from contracts.settings import Settings

_HASH_BYTES = 16  # a billion entities of one model collide with odds of one in 10^21
_LEAST_KEY = 16  # characters: a shorter secret can be found by trying


def key(settings: Settings) -> bytes:
    """The secret of this installation: TILTYARD_ENTITY_KEY, else file `entity.key` of the state folder.

    Whoever needs the file first makes it; machines that share streams need the same secret. Raises ConfigError when it
    is too short to be one, OSError when the file can be neither read nor made.
    """
    if settings.entity_key:
        secret, where = settings.entity_key.encode(), "TILTYARD_ENTITY_KEY"
    else:
        secret, where = _kept(settings.state / "entity.key"), str(settings.state / "entity.key")
    if len(secret) < _LEAST_KEY:
        raise ConfigError(f"{where} holds fewer than {_LEAST_KEY} characters; restore it")
    return secret


def masked(key: bytes, model: str, entity_id: str) -> str:
    """What is stored of an entity: 32 hex digits. A model's name has no NUL, so no two pairs read alike."""
    return hmac.digest(key, f"{model}\0{entity_id}".encode(), "sha256")[:_HASH_BYTES].hex()


def fingerprint(key: bytes) -> str:
    """8 hex digits that tell two keys apart and give none away."""
    return hmac.digest(key, b"tiltyard", "sha256")[:4].hex()


def _kept(path: Path) -> bytes:
    """The file's text; whoever links first has made it, and everybody reads what that one wrote."""
    with suppress(FileNotFoundError):
        return path.read_bytes().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft, name = tempfile.mkstemp(dir=path.parent, prefix=".entity.key-")  # readable by its owner alone
    try:
        with os.fdopen(draft, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
    return path.read_bytes().strip()
