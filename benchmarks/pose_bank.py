"""How deep hands of the pose bank go into each other, and whether every entry is what hands can do.

`python -m benchmarks.pose_bank [--draws N] [--seed S]` holds every stored entry against `anatomy.complaints` and
measures it; then it draws N poses of random shapes (clipped at 2 standard deviations, as in `synthetic`) from all
splits and measures them on the skin that `HandModel` gives, not on what settled them. The promise is nothing beyond
2 mm.
"""

from __future__ import annotations

import argparse

import numpy as np

from jaxhands.hands import anatomy, contact
from jaxhands.hands.model import HandModel
from jaxhands.hands.pose_bank import MAX_PENETRATION_MM, PAIR, SINGLE, SPLITS, PoseBank, default_bank
from jaxhands.hands.settle import vertices_of

_PAIR_SHARE = 0.6


def penetration_mm(bank: PoseBank, skins: np.ndarray, present: np.ndarray) -> float:
  """Deepest point of either hand [2, V, 3] in the other, or of a finger in its own hand."""
  solids = bank.rig.solids
  own = [contact.self_penetration(solids, skins[hand]) for hand in np.flatnonzero(present)]
  return max([*own, contact.penetration(solids, skins[0], skins[1])[0] if present.all() else 0.0])


def drawn_mm(bank: PoseBank, model: HandModel, rng: np.random.Generator, split: str) -> tuple[str, float]:
  """Family and penetration of one draw of a random shape."""
  shape = rng.standard_normal(10).clip(-2, 2).astype(np.float32)
  draw = bank.sample(rng, split, PAIR if rng.uniform() < _PAIR_SHARE else SINGLE, shape=shape)
  rest = model.joints_template[:, 0] + model.joints_shapedirs[:, 0] @ shape
  mano = np.concatenate([draw.pose, np.tile(shape, (2, 1)), draw.wrist_mm - rest], axis=1).astype(np.float32)
  skins = np.asarray(model.forward_mano(mano).vertices, np.float64)
  return draw.family, penetration_mm(bank, skins, draw.present)


def _state(name: str, depths: list[float]) -> None:
  shares = "  ".join(
    f"{np.mean(np.array(depths) > limit):.1%} beyond {limit} mm" for limit in (0.5, 1.0, MAX_PENETRATION_MM)
  )
  print(
    f"{name}: {len(depths)}, deepest {max(depths):.2f} mm, 99th percentile {np.percentile(depths, 99):.2f}  {shares}"
  )


def main() -> None:
  parser = argparse.ArgumentParser(description="Anatomy and penetration of the pose bank.")
  parser.add_argument("--draws", type=int, default=500)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  bank, model = default_bank(), HandModel.default()
  stored, complaints = [], 0
  for entry in range(len(bank.family)):
    placed, present = bank.placed(entry), np.array([True, bank.is_pair(entry)])
    found = [line for hand in np.flatnonzero(present) for line in anatomy.complaints(placed.angles_deg[hand])]
    if found:
      complaints += 1
      print(f"entry {entry} ({bank.families[bank.family[entry]]}): {'; '.join(found)}")
    stored.append(penetration_mm(bank, vertices_of(bank.rig, placed), present))
  print(f"{len(stored)} entries, {complaints} with complaints")
  _state("stored", stored)
  rng = np.random.default_rng(args.seed)
  drawn = [drawn_mm(bank, model, rng, SPLITS[number % len(SPLITS)]) for number in range(args.draws)]
  _state("drawn", [depth for _, depth in drawn])
  for family, depth in sorted(drawn, key=lambda row: -row[1])[:5]:
    print(f"  {depth:.2f} mm  {family}")


if __name__ == "__main__":
  main()
