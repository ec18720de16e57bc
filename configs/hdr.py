"""HDR (Meng et al., ECCV 2022): hand de-occlusion and removal before a single-hand pose estimator.

    python launch.py --config=configs/hdr.py                       # demo: 2 idle CPU cores, 4.5 minutes
    python launch.py --config=configs/hdr.py:synth                 # the paper's networks on embedded data: one GPU
    python launch.py --config=configs/hdr.py:paper \\
        --config.stages.hasm.init_from.backbone=mit_b5.npz --config.vgg=vgg16.h5 \\
        --config.data.aih.singles=interhand26m --config.data.aih.poses=interhand26m --config.data.aih.mano=MANO \\
        --config.data.aih.textures=SKINS                           # InterHand2.6M, and AIH made of it
    python launch.py --config=configs/hdr.py:paper,hasm,released --config.init_from.backbone=mit_b5.npz
                                                                   # one part, as the authors trained it
    python launch.py --config=configs/hdr.py:synth --stage=hasm    # one stage of the whole, e.g. a job for each
    python -m benchmarks.hdr_tables                                # all rows of tables 3 and 5, at size small

Parts: pipeline (the default), hasm, hdrm, hdrm_finetune, shpe. Sizes: demo, tiny, small, kept, synth, paper. Switches:
scratch, released, internet_pose, no_removal, no_deocclusion, no_discriminator, no_transformer, render_only, syn_only,
with_aih. What they are, the weights that the paper's size needs, and where paper and release differ:
docs/systems/hdr.md.

MPJPE on InterHand2.6M V1.0, all pictures, true scale, mm (Tables 1 and 3): paper, branch ALL 10.97; branch M 11.74,
with SHPE on single hands 25.78, the same with HDR 17.98. Ours, kept weights on synthetic/demo:test (1,000 pictures):
51.71 with HDR, 53.69 without; with true masks 43.74 and 50.25; mean pose 76.95.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.hdr_parts import pipeline, pose, recovery, segmentation, shared

PARTS = {
  "pipeline": pipeline.pipeline, "hasm": segmentation.hasm, "hdrm": recovery.hdrm,
  "hdrm_finetune": recovery.hdrm_finetune, "shpe": pose.shpe,
}  # fmt: skip
VARIANTS = (
  "demo", "demo,scratch", "tiny", "small", "kept", "synth", "paper", "paper,released", "tiny,internet_pose",
  "demo,internet_pose",
  "small,internet_pose", "small,with_aih", "small,no_discriminator", "small,no_transformer", "small,render_only",
  "small,syn_only", "paper,internet_pose", "paper,no_removal", "paper,no_deocclusion", "paper,no_discriminator",
  "paper,no_transformer", "paper,render_only", "paper,syn_only", "paper,with_aih", "synth,syn_only", "demo,hasm",
  "tiny,hasm", "small,hasm", "synth,hasm", "paper,hasm", "tiny,hasm,released", "paper,hasm,released",
  "paper,hdrm,released", "paper,shpe,released",
  "tiny,hdrm_finetune", "tiny,shpe", "tiny,hdrm,no_discriminator,no_transformer", "demo,hdrm", "demo,shpe",
  "paper,hdrm,no_removal", "paper,hdrm,no_deocclusion", "paper,hdrm,render_only", "paper,hdrm,syn_only",
  "paper,shpe,with_aih",
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,part][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or switches that exclude each other.
  """
  config: Any = base.get_config()
  config.name = "hdr"
  choice = base.choose(config, variant, tuple(PARTS), shared.SWITCHES, (*base.SIZES, "kept"))
  for one, other in (("no_removal", "no_deocclusion"), ("render_only", "syn_only")):
    if one in choice and other in choice:
      raise ValueError(f"variant {variant!r}: {one} and {other} exclude each other")
  if idle := sorted(choice.switches - pipeline.understood(choice.part, choice)):
    raise ValueError(f"variant {variant!r}: {idle[0]} changes nothing of {choice.part} at size {choice.size}")
  return PARTS[choice.part](config, choice) or config  # the pipeline is a run of its own
