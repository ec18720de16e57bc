"""Metrics: quantities of every example and the numbers made of them; `standard` is what every evaluation reports."""

from __future__ import annotations

from jaxhands.hands.model import HandModel
from jaxhands.metrics import confidence, handedness, masks, parts, pictures, pose, root
from jaxhands.metrics.base import Baseline, Metric, Protocol
from jaxhands.schema import HANDS


def poses(protocol: Protocol, model: HandModel | None = None) -> tuple[Metric, ...]:
  """Metrics of 3D poses under one protocol; with vertices where a hand model is given.

  Hands that are measured from the middle finger, as Intershape's, have their place relative to each other besides.
  """
  meshes = (pose.mpvpe(protocol, model),) if model is not None else ()
  placed = (pose.placement(protocol),) if protocol.root == "middle1" else ()
  return (pose.mpjpe(protocol), pose.pck_auc(protocol), *meshes, pose.mrrpe(protocol), *placed)


def roots() -> tuple[Metric, ...]:
  """Metrics of the wrists' place, for systems that predict it."""
  return (root.root_depth(), *map(root.root_depth_of_hand, HANDS), root.mrpe())


def standard(protocol: Protocol, model: HandModel | None = None, with_parts: bool = False) -> tuple[Metric, ...]:
  """All of one protocol, in the order of tables.

  `poses`, 2D error, calibration of confidence, bones of unequal length, handedness, `roots` and masks; with parts where
  a system reads them.
  """
  more = (parts.parts_iou(), parts.hands_iou()) if with_parts else ()
  hands = handedness.average_precision(), handedness.accuracy()
  seen = pose.epe2d(protocol), confidence.calibration_error(), pose.bone_asymmetry(protocol)
  return (*poses(protocol, model), *seen, *hands, *roots(), *masks.metrics(), *more)


def baselines() -> tuple[Baseline, ...]:
  """Plain methods beside what a system predicts; the mean pose is another, which needs training data."""
  return (*masks.baselines(), *pictures.baselines())
