"""Sets of poses: what a system samples, what is annotated several times, and how one set is laid on another.

HandFlow (Wang et al., VMV 2022, section 5.2) compares under three alignments: "global", nothing is moved; "rrr", both
hands relative to the right wrist; "rr", each hand relative to its own wrist. A system without samples says one pose, as
a hundred equal samples would.
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.geometry import lift
from jaxhands.geometry.arrays import Array
from jaxhands.hands import bones, skeleton
from jaxhands.hands.model import HandModel

Alignment = Literal["global", "rrr", "rr"]
ALIGNMENTS: tuple[Alignment, ...] = ("global", "rrr", "rr")
ANNOTATED = frozenset({"annotations_mano", "annotations_valid", "hand_present"})


def aligned(joints_cam: Float[Array, "*b 2 21 3"], alignment: Alignment) -> Float[Array, "*b 2 21 3"]:
  """Joints (mm) relative to what an alignment is relative to."""
  if alignment == "global":
    return joints_cam
  wrists = joints_cam[..., skeleton.WRIST :, :]
  return joints_cam - (wrists if alignment == "rr" else wrists[..., schema.RIGHT : schema.RIGHT + 1, :, :])


def comparable(present: Bool[Array, "b 2"], alignment: Alignment) -> Bool[Array, "b 2"]:
  """Hands that an alignment can place: without a right hand there is no "rrr"."""
  return present & present[:, schema.RIGHT :][:, :1] if alignment == "rrr" else present


def free(alignment: Alignment) -> Bool[np.ndarray, "2 21"]:
  """Joints that an alignment does not hold in place, so that samples of them can differ."""
  found = np.ones((2, schema.NUM_JOINTS), bool)
  if alignment != "global":
    found[: 2 if alignment == "rr" else 1, skeleton.WRIST] = False
  return found


def annotated_joints(model: HandModel, batch: schema.Batch) -> Float[Array, "b a 2 21 3"]:
  """Joints (mm, camera frame) of every annotation of a batch; anything where `annotations_valid` is False."""
  return model.forward_mano(batch["annotations_mano"]).keypoints


def pose(prediction: schema.Prediction, batch: schema.Batch, protocol: Protocol) -> lift.Lifted:
  """The one pose that a system says: its mode, if it has samples."""
  return lift.lift(prediction, batch, protocol.depth, protocol.left_root, bones.mean_bones())


def samples(prediction: schema.Prediction, batch: schema.Batch, protocol: Protocol) -> tuple[Any, Any]:
  """Poses [B, S, 2, 21, 3] (mm, camera frame) that a system thinks likely, and which hands they are known of [B, 2]."""
  if "samples" in prediction:
    return prediction["samples"], jnp.ones(prediction["samples"].shape[:1] + (2,), bool)
  lifted = pose(prediction, batch, protocol)
  return lifted.joints_cam[:, None], lifted.valid


def pose_needs(protocol: Protocol) -> frozenset[str]:
  """Keys of the batch that `pose` reads."""
  return lift.NEEDS[protocol.depth]


def pose_predicts(protocol: Protocol) -> frozenset[str]:
  """Keys of the prediction that `pose` reads."""
  return frozenset({"joints_cam"}) if protocol.depth == "predicted" else schema.POSE
