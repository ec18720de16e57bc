"""What can be wrong with a download of InterHand2.6M."""

from __future__ import annotations

from data_builders.problems import LEFT_OUT, MASKED, NOTED, UNUSABLE

# Kind -> what becomes of it. Masked labels are stored as unknown: 0 with their flag False.
KINDS = {
  "missing annotation file": UNUSABLE,
  "broken annotation file": UNUSABLE,
  "missing archive part": NOTED,
  "damaged archive part": NOTED,
  "malformed entry": LEFT_OUT,
  "annotation id twice": LEFT_OUT,
  "annotation without picture entry": LEFT_OUT,
  "picture entry without annotation": NOTED,
  "human id without annotation": NOTED,
  "missing camera": LEFT_OUT,
  "missing 3D joints": LEFT_OUT,
  "picture id twice": LEFT_OUT,
  "bad box": LEFT_OUT,
  "box beside the picture": LEFT_OUT,
  "joints away from the box": LEFT_OUT,
  "hand too small": LEFT_OUT,
  "hand type against the joints": LEFT_OUT,
  "picture of another size": LEFT_OUT,
  "missing picture": LEFT_OUT,
  "cut picture": LEFT_OUT,
  "joint not finite": MASKED,
  "absurd joint": MASKED,
  "joint far outside the picture": MASKED,
  "MANO parameters not finite": MASKED,
  "MANO fit far from the joints": MASKED,
  "broken RootNet file": NOTED,
  "missing RootNet depth": NOTED,
  "RootNet depth that cannot be": NOTED,
}
