"""Metrics: quantities of every example and the numbers made of them; `standard` is what every evaluation reports."""

from __future__ import annotations

from jaxhands.evaluation.metrics import (
  boxes,
  confidence,
  handedness,
  masks,
  mmd,
  parts,
  pictures,
  plausible,
  pose,
  projected,
  root,
  spread,
)
from jaxhands.evaluation.metrics.base import Baseline, Metric, Protocol
from jaxhands.evaluation.metrics.distribution import ALIGNMENTS
from jaxhands.hands.model import HandModel
from jaxhands.schema import HANDS


def poses(protocol: Protocol, model: HandModel | None = None) -> tuple[Metric, ...]:
  """Metrics of 3D poses under one protocol; with vertices where a hand model is given.

  Hands that are measured from the middle finger, as Intershape's, have their place relative to each other besides; and
  where a hand's depth is not given but found, the share of hands that have one.
  """
  meshes = (pose.mpvpe(protocol, model),) if model is not None else ()
  offsets = (pose.placement(protocol),) if protocol.root == "middle1" else ()
  placed = (pose.placed(protocol),) if protocol.depth in ("rootnet", "place", "normalised") else ()
  return (pose.mpjpe(protocol), pose.pck_auc(protocol), *meshes, pose.mrrpe(protocol), *offsets, *placed)


def roots() -> tuple[Metric, ...]:
  """Metrics of the wrists' place, for systems that predict it."""
  return (root.root_depth(), *map(root.root_depth_of_hand, HANDS), root.mrpe())


def standard(
  protocol: Protocol, model: HandModel | None = None, with_parts: bool = False, one_hand: bool = False
) -> tuple[Metric, ...]:
  """All of one protocol, in the order of tables.

  `poses`, 2D error, calibration of confidence, bones of unequal length, handedness, `roots`, masks and boxes; with
  parts where a system reads them; without handedness where it is shown `one_hand`, and so told which one.
  """
  more = (parts.parts_iou(), parts.hands_iou()) if with_parts else ()
  hands = () if one_hand else (handedness.average_precision(), handedness.accuracy())
  seen = pose.epe2d(protocol), confidence.calibration_error(), pose.bone_asymmetry(protocol)
  return (*poses(protocol, model), *seen, *hands, *roots(), *masks.metrics(), *boxes.metrics(), *more)


def distributions(protocol: Protocol, model: HandModel) -> tuple[Metric, ...]:
  """Metrics of samples, and of one pose beside several annotations, in the order of HandFlow's tables.

  Args:
    protocol: where the depth of a system without samples comes from.
    model: of the annotations.
  """
  tips = model.tips_only()
  ranges: tuple[plausible.Which, ...] = ("closest", "farthest")
  one = [plausible.mpjpe_of_annotation(protocol, tips, which, a) for which in ranges for a in ALIGNMENTS]
  one += [plausible.mpjpe_of_annotation(protocol, tips, which, "rr", occluded=True) for which in ranges]
  several = [mmd.mmd(protocol, tips, alignment) for alignment in ALIGNMENTS]
  several += [metric(alignment) for metric in (spread.best_of_samples, spread.deviation) for alignment in ALIGNMENTS]
  honest = [metric(a) for metric in (spread.deviation_error, spread.deviation_correlation) for a in ALIGNMENTS]
  honest += [spread.coverage(alignment, percent) for percent in (50, 90) for alignment in ALIGNMENTS]
  seen = projected.in_place(), projected.in_depth(), projected.in_picture()
  return (*several, *one, plausible.nll(), *honest, *seen)


def baselines() -> tuple[Baseline, ...]:
  """Plain methods beside what a system predicts; the mean pose is another, which needs training data."""
  return (*masks.baselines(), *boxes.baselines(), *pictures.baselines())
