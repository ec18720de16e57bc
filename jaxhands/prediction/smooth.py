"""The One-Euro filter (Casiez et al., CHI 2012): a low pass whose cutoff rises with speed.

So a hand at rest is calm, and one in quick motion hardly lags.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float


class OneEuro:
  """Smooths an array over time.

  Attributes:
    fps: values per second.
    min_cutoff: in Hz, at rest; lower is calmer.
    beta: how fast the cutoff rises, Hz for each unit per second; higher lags less.
    speed_cutoff: in Hz, of the speed itself.
  """

  def __init__(self, fps: float, min_cutoff: float = 1.5, beta: float = 0.01, speed_cutoff: float = 1.0):
    if min(fps, min_cutoff, speed_cutoff) <= 0 or beta < 0:
      raise ValueError(
        f"fps={fps}, min_cutoff={min_cutoff}, speed_cutoff={speed_cutoff} are positive, beta={beta} not < 0"
      )
    self.fps, self.min_cutoff, self.beta, self.speed_cutoff = fps, min_cutoff, beta, speed_cutoff
    self._value: np.ndarray | None = None
    self._speed = np.zeros(())

  def reset(self) -> None:
    """The next value is the first one."""
    self._value, self._speed = None, np.zeros(())

  def __call__(self, value: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """The smoothed value of the next moment; the first one is as it is."""
    if self._value is None:
      self._value = value
      return value
    speed = (value - self._value) * self.fps
    self._speed = self._speed + self._share(self.speed_cutoff) * (speed - self._speed)
    share = self._share(self.min_cutoff + self.beta * np.abs(self._speed))
    self._value = (self._value + share * (value - self._value)).astype(value.dtype)
    return self._value

  def _share(self, cutoff: float | np.ndarray) -> float | np.ndarray:
    """How much of a new value is taken: 1 / (1 + tau fps) with tau = 1 / (2 pi cutoff)."""
    rate = 2 * math.pi * cutoff / self.fps
    return rate / (1 + rate)
