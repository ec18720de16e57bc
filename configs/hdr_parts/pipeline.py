"""The whole of HDR: all parts trained one after the other, then chained and evaluated."""

from __future__ import annotations

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.hdr_parts import pose, recovery, segmentation, shared

_TRAINED = {
  "hasm": segmentation.hasm, "hdrm": recovery.hdrm, "hdrm_finetune": recovery.hdrm_finetune, "shpe": pose.shpe,
  "internet": pose.internet_pose,
}  # fmt: skip
# The release enlarges the box of a hand's whole mask so much; the same of its joints' box is `shared.PAPER_FACTOR`.
_RELEASED_FACTOR = 2.0
_START = "at_the_start"  # the weights that come with the package, untouched: a row of the table
_DATA = {
  "demo": shared.demo_data, "tiny": shared.tiny, "small": shared.small_data, "kept": shared.kept_data,
  "synth": base.synth_data, "paper": base.paper_data,
}  # fmt: skip


def understood(part: str, choice: base.Choice) -> set[str]:
  """The switches that mean something to a part at a size."""
  of_aih = {"render_only", "syn_only"} if choice.size in ("small", "synth", "paper") else set()
  scratch = {"scratch"} if choice.size == "demo" else set()
  # The release's HASM has MiT-B5; that of demo and kept is a ResNet.
  as_hasm = {"released"} if choice.size not in ("demo", "kept") else set()
  if part == "hasm":
    return as_hasm | scratch
  if part == "internet":
    return scratch
  if part == "shpe":
    return {"released"} | scratch | ({"with_aih"} if choice.size in ("small", "paper") else set())
  if part == "pipeline":
    internet = {"internet_pose"} if choice.size != "kept" else set()
    of_parts = internet.union(*(understood(name, choice) for name in _parts(choice)))
    return of_parts if as_hasm else of_parts - {"released"}
  released = as_hasm if part == "hdrm_finetune" else {"released"}
  return released | {"no_removal", "no_deocclusion", "no_discriminator", "no_transformer"} | scratch | of_aih


def pipeline(config: Any, choice: base.Choice) -> ConfigDict:
  """Each part is a stage, in its own folder; then the whole, assembled of them and evaluated."""
  names = _parts(choice)
  parts = {name: _config_of(name, choice) for name in names}
  estimator = parts[names[-1]]
  config.system = ConfigDict({
    "name": "hdr.pipeline",
    "recover": True,  # False: poses of the crops as they are
    "masks": "predicted",  # or "true", those of the data
    "hand_hw": tuple(estimator.data.crop_hw),
    "hand_factor": _RELEASED_FACTOR / shared.PAPER_FACTOR * estimator.system.box_factor,  # of a mask's box
    "oversampling": 2 if choice.size in ("demo", "small", "kept") else 1,  # small crops would skip pixels
    "one_depth": choice.size in ("demo", "small", "kept"),  # placed alone they lie too far apart
    "compare": choice.size not in ("synth", "paper"),  # reports show the poses without recovery, too: a second look
    "picture_hw": (640, 640) if choice.size == "paper" else (320, 320),  # room for the pictures
    "hasm": parts["hasm"].system,
    "hdrm": _config_of("hdrm", choice).system,
    "pose": estimator.system,
  })  # fmt: skip
  _DATA[choice.size](config)
  config.data.crop_hw = tuple(parts["hasm"].data.crop_hw)
  if choice.size in ("demo", "tiny", "kept"):  # one data set, built once
    for part in parts.values():
      part.data.train, part.data.eval = config.data.train, config.data.eval
  _evaluate(config, choice)
  start = {}
  if shared.starts_from_kept(choice) and "internet_pose" not in choice:
    start[_START] = config.copy_and_resolve_references()
    start[_START].init_from.all = shared.KEPT
    start[_START].eval.methods = ConfigDict()
  hdrnet = "stages/hdrm_finetune" if "hdrm_finetune" in names else shared.KEPT
  config.init_from.update(hasm="stages/hasm:.", hdrnet=hdrnet, pose=f"stages/{names[-1]}:.")
  return base.staged(config, start | parts | {"pipeline": config})


def _parts(choice: base.Choice) -> tuple[str, ...]:
  """Those that are trained, the estimator last; a short training would spoil HDRM's finished weights."""
  recovery_parts = () if shared.starts_from_kept(choice) else ("hdrm", "hdrm_finetune")
  return ("hasm", *recovery_parts, "internet" if "internet_pose" in choice else "shpe")


def _config_of(name: str, choice: base.Choice) -> Any:
  """A part's own config, with the switches that it has."""
  config: Any = base.get_config()
  own = dataclasses.replace(choice, part=name, switches=choice.switches & understood(name, choice))
  _TRAINED[name](config, own)
  if name == "hdrm_finetune":
    recovery.sources(config, "stages/hdrm", "stages/hasm:.")
  return config


def _evaluate(config: Any, choice: base.Choice) -> None:
  """What stands beside the whole in its table."""
  methods = {
    "pose_alone": {"recover": False},
    "true_masks": {"masks": "true"},
    "pose_alone_true_masks": {"recover": False, "masks": "true"},
  }
  if not set(choice.switches) - {"released", "internet_pose", "with_aih"}:  # an ablation has none of another
    methods["no_removal"] = {"hdrm": {"over": "occluded"}}
    methods["no_deocclusion"] = {"hdrm": {"over": "distractor"}}
  config.eval.batch_size = 8 if choice.size == "tiny" else 16
  config.eval.metrics = (
    "mpjpe", "pck_auc", "mrrpe", "epe2d", "bone_asymmetry", "handedness_ap", "handedness_accuracy",
  )  # fmt: skip
  config.eval.methods = ConfigDict(methods)
  pose.compared_as_released(config)
