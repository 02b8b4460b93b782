"""River's drift detectors on a champion's matured losses, fed with means of consecutive ones.

They have no budget of false alarms: what they say is a warning beside the calibrated alarm (`drift.budget`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from river import drift

_MADE: dict[str, Callable[[], Any]] = {
    "adwin": drift.ADWIN,
    "page_hinkley": lambda: drift.PageHinkley(mode="up"),
    "kswin": lambda: drift.KSWIN(seed=1),
}


@dataclass
class Detectors:
    """Of one champion's tenure, with River's defaults."""

    tenure: tuple[int | None, int] = (None, -1)
    """(version, offset from which it reigns)."""
    fed: int = 0
    """Means so far."""
    fired: dict[str, int] = field(default_factory=dict)
    """How many means had been fed when each last found that the loss had risen."""
    _running: dict[str, Any] = field(default_factory=dict)

    def follow(self, tenure: tuple[int | None, int], names: Sequence[str], means: Sequence[float]) -> None:
        """Takes in mean losses in their order; another tenure begins anew."""
        if tenure != self.tenure:
            self.tenure, self.fed, self.fired, self._running = tenure, 0, {}, {}
        self._running = {name: self._running.get(name) or _MADE[name]() for name in names}
        for mean in means:
            self.fed += 1
            for name, detector in self._running.items():
                before = detector.estimation if name == "adwin" else None
                detector.update(mean)
                # ADWIN also finds losses that fall, and its mean tells which; KSWIN does not tell.
                if detector.drift_detected and (before is None or detector.estimation > before):
                    self.fired[name] = self.fed

    def ago(self, tenure: tuple[int | None, int]) -> dict[str, int]:
        """How many means ago each last fired, in this tenure."""
        return {name: self.fed - at for name, at in sorted(self.fired.items())} if tenure == self.tenure else {}

    def estimate(self, name: str) -> float | None:
        """The mean loss that a running detector holds for the present one; None where it keeps none."""
        return getattr(self._running.get(name), "estimation", None)
