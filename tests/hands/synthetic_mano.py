"""The parity case's synthetic hands (quantised to be small) as the dictionaries that MANO's files hold."""

import pathlib

import numpy as np


def arrays(folder: pathlib.Path, name: str, fixed: bool = False) -> dict[str, np.ndarray]:
  """MANO's keys of `right` or `left`; `fixed` mirrors the left hand's shapes, released as the right hand's."""
  with np.load(folder / f"synthetic_{name}.npz") as stored:
    regressor = np.zeros((16, 778))
    columns = np.repeat(np.arange(778), np.diff(stored["J_regressor_indptr"]))
    regressor[stored["J_regressor_indices"], columns] = stored["J_regressor_data"]
    shapedirs = stored["shapedirs_um"] * 1e-6
    if fixed:
      shapedirs[:, 0] *= -1
    return {
      "v_template": stored["v_template_um"] * 1e-6,
      "shapedirs": shapedirs,
      "posedirs": stored["posedirs_q"] * stored["posedirs_scale"],
      "J_regressor": regressor,
      "weights": stored["weights_q"] / 1000,
      "kintree_table": stored["kintree_table"],
      "f": stored["f"],
      "hands_mean": stored["hands_mean"],
      "hands_components": stored["hands_components"],
    }


def write_pair(folder: pathlib.Path, to: pathlib.Path, fixed: bool = False) -> pathlib.Path:
  """MANO_RIGHT.npz and MANO_LEFT.npz under `to`."""
  np.savez(to / "MANO_RIGHT.npz", **arrays(folder, "right"))
  np.savez(to / "MANO_LEFT.npz", **arrays(folder, "left", fixed))
  return to
