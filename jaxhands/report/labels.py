"""How sections, metrics and their units are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Metric -> how it is written, and what it says.
METRICS = {
  "mpjpe": ("MPJPE", "joints from the truth"),
  "mpvpe": ("MPVPE", "vertices from the truth"),
  "pck_auc": ("PCK AUC", "area under the curve of joints within 0 to 50 mm"),
  "mrrpe": ("MRRPE", "left wrist, seen from the right one"),
  "placement": ("Placement", "base of the left middle finger, seen from the right one's"),
  "epe2d": ("2D error", "joints in the picture"),
  "confidence_ece": ("Calibration error", "confidence, from the share of joints near the truth"),
  "bone_asymmetry": ("Bone asymmetry", "the same bone of right and left hand, in length"),
  "handedness_ap": ("Handedness AP", "average precision of finding a hand"),
  "handedness_accuracy": ("Handedness", "pictures with both hands right"),
  "root_depth": ("Wrist depth", "distance of the wrists from the camera"),
  "mrpe": ("MRPE", "wrists in space"),
  "mmd": ("MMD", "samples from the annotated poses; all pairs, root of MMD², mean over kernels of 10 to 500 mm"),
  "mpjpe_closest": ("MPJPE, closest", "joints from the annotation that is nearest"),
  "mpjpe_farthest": ("MPJPE, farthest", "joints from the annotation that is farthest"),
  "mpjpe_best": ("MPJPE, best sample", "joints of the sample that is nearest to the truth"),
  "nll": ("NLL", "negative log-density of the annotations"),
  "deviation": ("Deviation", "joints of the samples, from their mean"),
  "deviation_error": ("Deviation error", "deviations, from how far the samples' mean is from the truth"),
  "deviation_correlation": ("Deviation and error", "correlation over all joints"),
  "coverage_50": ("Coverage, 50 %", "joints whose truth lies where half of the samples do"),
  "coverage_90": ("Coverage, 90 %", "joints whose truth lies where nine in ten samples do"),
  "samples_in_place": ("Samples in place", "visible joints of the samples, within 5 px of a crop of 224"),
  "deviation_depth": ("Deviation in depth", "joints of the samples"),
  "deviation_picture": ("Deviation in the picture", "joints of the samples, at their mean depth"),
  "iou": ("IoU", "masks with the true ones, pixels of all pictures together"),
  "box_iou": ("Box IoU", "boxes of whole hands by their masks"),
  "mask_error": ("Mask error", "wrong pixels of each mask's union"),
  "box_recall": ("Box recall", "hands with a box that shares half with their own"),
  "box_recall_loose": ("Box recall, loose", "hands with a box that shares three tenths with their own"),
  "box_side": ("Side", "found hands that are called right or left as they are"),
  "box_error": ("Box error", "what the best box of each hand does not share with its own"),
  "false_boxes": ("False boxes", "boxes on no hand, of each picture"),
  "alarms": ("Alarms", "pictures without hands in which one is seen"),
  "psnr": ("PSNR", "recovered crops, in their holes"),
  "ssim": ("SSIM", "recovered crops, in their holes"),
  "perceptual": ("Perceptual distance", "recovered crops, in their holes"),
}
# What a report shows first, in this order.
HEADLINE = (
  "mpjpe/all", "mpjpe/interacting", "mpvpe/all", "mrrpe", "handedness_accuracy", "epe2d", "root_depth/all", "mrpe/all",
  "iou/amodal", "iou/visible", "iou/invisible", "box_iou/all", "box_recall/all", "alarms", "psnr", "ssim", "perceptual",
)  # fmt: skip
HIGHER_IS_BETTER = (
  "pck",
  "handedness",
  "iou",
  "box_iou",
  "box_recall",
  "box_side",
  "psnr",
  "ssim",
  "deviation_correlation",
  "samples_in_place",
)
NEITHER_IS_BETTER = ("deviation", "deviation_depth", "deviation_picture", "coverage_50", "coverage_90")
GROUPS = {
  "global": "nothing moved",
  "rrr": "at the right wrist",
  "rr": "at each wrist",
  "rr_occluded": "at each wrist, hidden joints",
  "all": "all",
  "single": "one hand",
  "interacting": "two hands",
  "inter": "two, over 30 joints",
}
SHARES = ("share", "0..1")  # units that go without saying


def section(title: str, body: str, caption: str) -> str:
  """A section with a title and a caption, all three of them HTML; its id is made of the title."""
  name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
  return f'<section id="{name}"><h2>{title}</h2><figure>{body}<figcaption>{caption}</figcaption></figure></section>'


def named(key: str) -> tuple[str, str]:
  """How a metric is written, and its group ("" = none)."""
  family, *groups = key.split("/")
  return METRICS.get(family, (family, ""))[0], ", ".join(_group(group) for group in groups)


def _group(group: str) -> str:
  """How a group is written; `hidden_25-50` are hands of which so many percent are hidden."""
  if group.startswith("hidden_"):
    share = group.removeprefix("hidden_").replace("-", " – ")
    return "nothing hidden" if share == "0" else f"{share} % hidden"
  return GROUPS.get(group, group)


def unit_of(result: Mapping[str, Any], key: str) -> str:
  """Unit of a metric of `metrics.json`; "" = none."""
  return result["units"].get(key, "")
