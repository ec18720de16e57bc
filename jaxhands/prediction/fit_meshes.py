"""Parameters and meshes of hands whose system gives joints alone: fitted to these (`hands.fit`)."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.hands import fit
from jaxhands.hands.model import HandModel
from jaxhands.prediction.hands import Hands

PREDICTED = fit.How(joint_mm=5.0)  # a network's joints are not quite those of a hand


def weights(
  confidence: Float[np.ndarray, "*n 2 21"], known: Bool[np.ndarray, "*n 2 21"]
) -> Float[np.ndarray, "*n 2 21"]:
  """Of joints in a fit: their confidence; 1 where that of all known joints of a hand is 0, and so says nothing."""
  return np.where((known & (confidence != 0)).any(-1, keepdims=True), confidence, 1)


def fitted(hands: Hands, hand_model: HandModel, how: fit.How = PREDICTED, one_shape: bool = False) -> Hands:
  """The same with `mano` and `vertices_cam` of every hand that stands in the camera's frame.

  What the system gave stays. Other hands get what fits `joints_cam`, each joint with its confidence as weight; see
  `weights`.

  Args:
    hands: of N pictures.
    hand_model: whose parameters; of a system that gives some, its own.
    how: what is believed of the joints.
    one_shape: the pictures are a clip of one person: each hand has one shape in all of them.
  Returns:
    With two further arrays [N, 2] in `raw`: `mano_residual_mm`, the mean distance of the joints from the mesh's, and
    `mano_converged`; 0 and False of hands that were not fitted.
  """
  count = len(hands)
  given = {
    "mano": np.zeros((count, 2, schema.MANO_DIM), np.float32),
    "vertices_cam": np.zeros((count, 2, hand_model.v_template.shape[1], 3), np.float32),
  }
  if given.keys() <= hands.raw.keys():
    given = {key: np.array(hands.raw[key]) for key in given}
  residual_mm, converged = np.zeros((count, 2), np.float32), np.zeros((count, 2), bool)
  missing = hands.joints_cam_valid & ~given["mano"].any(-1)
  rows = np.flatnonzero(missing.any(-1))
  if len(rows):
    valid = np.repeat(missing[rows, :, None], schema.NUM_JOINTS, axis=-1)
    sure = weights(hands.confidence[rows], valid)
    found = fit.fit(hand_model, hands.joints_cam[rows], valid, confidence=sure, how=how, one_shape=one_shape)
    vertices = hand_model.vertices_of(found.mano)
    given["mano"][rows] = np.where(found.valid[..., None], found.mano, given["mano"][rows])
    given["vertices_cam"][rows] = np.where(found.valid[..., None, None], vertices, given["vertices_cam"][rows])
    residual_mm[rows], converged[rows] = found.residual_mm, found.converged
  more = {"mano_residual_mm": residual_mm, "mano_converged": converged}
  return dataclasses.replace(hands, raw=dict(hands.raw) | given | more)
