"""Which hand is which from frame to frame: a hand that jumps to where the other one was has been called wrongly.

A frame's two hands are matched with the two tracks that earlier frames left: as they are called, or exchanged. What
decides is how far the joints would have moved, in sizes of a hand, and how sure the network was, summed over the frames
of each track; so one frame of doubt, as hands overlap, changes nothing, and long contrary evidence does.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from jaxhands.schema import LEFT, RIGHT

_FORGET = 0.9  # evidence of a track counts less with each frame
_SURE = 0.02  # probabilities are kept so far from 0 and 1
_MOVED = 0.5  # half a hand's size of motion weighs as much as evidence of 1 nat
_VANISHED = 1.0  # nats against a hand that is gone at once, while another one appears
_LOST_FRAMES = 15  # a track that was not seen so long is forgotten
_SMALLEST_PX = 8.0


@dataclasses.dataclass
class _Track:
  joints_img: np.ndarray
  evidence: float = 0.0  # nats for being a right hand
  age: int = 0  # frames since it was seen


class Identity:
  """Goes through the frames of a video in order; `exchanged(...)` says whether a frame's hands change places."""

  def __init__(self) -> None:
    self._tracks: dict[int, _Track] = {}

  def exchanged(
    self,
    joints_img: Float[np.ndarray, "2 21 2"],
    hand_prob: Float[np.ndarray, " 2"],
    present: Bool[np.ndarray, " 2"],
  ) -> bool:
    """Whether what is called right in this frame is the left hand, and the other way round.

    Args:
      joints_img: of both hands, right first, as the network calls them.
      hand_prob: that they are in the picture.
      present: which of them are.
    """
    for hand, track in list(self._tracks.items()):
      track.age += 1
      if track.age > _LOST_FRAMES:
        del self._tracks[hand]
    costs = [self._cost(joints_img, hand_prob, present, exchange) for exchange in (False, True)]
    exchange = costs[1] < costs[0]
    for seen in np.flatnonzero(present):
      hand = int(1 - seen) if exchange else int(seen)
      track = self._tracks.get(hand)
      evidence = track.evidence * _FORGET if track else 0.0
      self._tracks[hand] = _Track(joints_img[seen], evidence + _right_nats(hand_prob, int(seen)))
    return exchange

  def _cost(self, joints_img: np.ndarray, hand_prob: np.ndarray, present: np.ndarray, exchange: bool) -> float:
    taken = {int(1 - seen) if exchange else int(seen) for seen in np.flatnonzero(present)}
    cost = sum(_VANISHED / track.age for hand, track in self._tracks.items() if hand not in taken)
    for seen in np.flatnonzero(present):
      hand = int(1 - seen) if exchange else int(seen)
      track = self._tracks.get(hand)
      if track is not None:
        size = max(float(np.ptp(track.joints_img, axis=0).max()), _SMALLEST_PX)
        moved = float(np.linalg.norm(joints_img[seen] - track.joints_img, axis=-1).mean()) / size
        cost += moved / _MOVED / track.age
      # What the track was taken for so far, and what this frame says.
      evidence = _right_nats(hand_prob, int(seen)) + (track.evidence if track else 0.0)
      cost += max(-evidence if hand == RIGHT else evidence, 0.0)
    return cost


def _right_nats(hand_prob: np.ndarray, seen: int) -> float:
  """Evidence that a hand called `seen` is a right one, from its own probability against the other's.

  Of two hands that are both there for sure, nothing follows for either.
  """
  own, other = np.clip([hand_prob[seen], hand_prob[1 - seen]], _SURE, 1 - _SURE)
  nats = max(float(np.log(own) - np.log(other)), 0.0)
  return nats if seen != LEFT else -nats
