"""What every table opens with: where, when and of which commit its figures are."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def head() -> str:
    """Machine, load, Python, date and commit, on two lines."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    where = f"{_processor()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {git.stdout.strip() or 'unknown'}"
    return f"{where}, Python {platform.python_version()}\n{when}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
