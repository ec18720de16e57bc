"""The chosen examples with their pictures: each record once, with all that is to be seen of it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands.report import box_cards, mask_cards, mesh_cards, recovery_cards, sample_cards
from jaxhands.report.cards import depths, poses, title
from jaxhands.report.charts import number
from jaxhands.report.examples import example_likeness
from jaxhands.report.files import RunFiles
from jaxhands.report.labels import section

_POSES, _WRISTS = "prediction/joints_img", "prediction/root_cam"


def at_random(run: RunFiles) -> str | None:
  """Examples chosen before anything was predicted."""
  return _section(run, False, "Pictures at random", "Drawn by a fixed seed, whatever came out.")


def worst(run: RunFiles) -> str | None:
  """Examples with the largest error, besides those."""
  return _section(run, True, "The worst pictures", "Those with the largest error of all others, the worst first.")


def _section(run: RunFiles, worst: bool, name: str, caption: str) -> str | None:
  rows = np.flatnonzero(run.shown["worst"] == worst) if run.shown else ()
  shown = [text for row in rows if (text := _record(run, int(row)))]
  if not shown:
    return None
  return section(name, f'<div class="cards">{"".join(shown)}</div>', f"{caption} {_legend(set(run.shown))}")


def _record(run: RunFiles, row: int) -> str:
  """One example: its pose, recovered crops, masks and boxes, as far as there are any, and what is to be said of it."""
  example = {key: value[row] for key, value in run.shown.items()}
  kinds = _kinds(set(example))
  blocks, model = [], mesh_cards.model_of(run)
  if "poses" in kinds:
    blocks.append(poses(example, row, model))
  if "samples" in kinds and (block := sample_cards.samples(example, row, model)):
    blocks.append(block)
  if "recovered" in kinds:
    blocks.append(recovery_cards.recovered(example, alone=not blocks, with_masks="masks" not in kinds))
  if "masks" in kinds:
    blocks.append(mask_cards.masks(example, row, alone="poses" not in kinds))
  if "boxes" in kinds:
    blocks.append(box_cards.boxes(example, row))
  if not blocks:
    return ""
  wide = " full" if len(blocks) > 1 or "poses" not in kinds or model is not None else ""
  body = "".join(block.html() for block in blocks)
  caption = title(run, example, _more(run, example))
  return f'<figure class="record{wide}"><div>{body}</div><figcaption>{caption}</figcaption></figure>'


def _kinds(keys: set[str]) -> set[str]:
  """Which blocks an example with these keys has."""
  found = {"poses"} if keys & {_POSES, _WRISTS} else set()
  found |= {"recovered"} if keys >= recovery_cards.NEEDS else set()
  found |= {"samples"} if found and keys >= sample_cards.NEEDS else set()
  found |= {"boxes"} if keys >= box_cards.NEEDS else set()
  return found | ({"masks"} if keys >= mask_cards.NEEDS else set())


def _more(run: RunFiles, example: Mapping[str, Any]) -> list[str]:
  """What a caption says besides error and record."""
  words = depths(example) if _POSES not in example and _WRISTS in example else []
  likeness = float(example_likeness(run.values)[int(example["position"])])
  return words if np.isnan(likeness) else [*words, html.escape(f"PSNR {number(likeness)} dB")]


def _legend(keys: set[str]) -> str:
  kinds, legends = _kinds(keys), []
  if "poses" in kinds:
    behind = "both from one wrist on." if _POSES in keys else "the true hands at the predicted wrists."
    legends.append(
      '<span class="key right">right</span> <span class="key left">left</span>, thumb light to little finger dark; '
      f'<span class="key ghost">truth</span> behind the prediction, {behind} Larger dots: more confident.'
    )
  if keys >= mesh_cards.NEEDS:
    legends.append("Meshes: drag to turn truth and prediction together, wheel or pinch to zoom; squares have 50 mm.")
  if "prediction/heatmaps" in keys:
    legends.append("In the heatmap of the joint that went worst in each hand, + is the prediction and × the truth.")
  if "samples" in kinds:
    legends.append(sample_cards.legend())
  if "recovered" in kinds:
    legends.append(recovery_cards.legend())
  if "masks" in kinds:
    legends.append(f"Masks: {mask_cards.legend()}")
  if "boxes" in kinds:
    legends.append(box_cards.legend())
  return " ".join(legends)
