"""What a run keeps on disk: its config, and checkpoints of its state.

A checkpoint has separate items, so that a predictor reads `variables` (and `ema`) only:

    WORKDIR/config.json
    WORKDIR/checkpoints/STEP/{variables,ema,opt,meta}

`variables["constants"]` is in none of them. This is the only file that knows the checkpoint library.
"""

from __future__ import annotations

import json
import math
import pathlib
import tempfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxhands import __version__
from jaxhands.train import state as states

Which = Literal["latest", "best"]


class Checkpoints:
  """The checkpoints of one run: written in the background, the latest and the best kept.

  A context manager: leaving it waits until all is written.
  """

  def __init__(self, workdir: pathlib.Path, keep: int = 1, best_metric: str = "", best_mode: str = "min"):
    """Opens, or makes, `workdir/checkpoints`.

    Args:
      workdir: of the run.
      keep: how many of the latest.
      best_metric: which metric chooses the best one; "" = none is kept for that.
      best_mode: "min" or "max".
    Raises:
      ValueError: `keep` below 1 or another mode.
    """
    if keep < 1 or best_mode not in ("min", "max"):
      raise ValueError(f"keep is {keep} and best_mode {best_mode!r}; they are at least 1, and 'min' or 'max'")
    self._metric = best_metric
    worst = math.inf if best_mode == "min" else -math.inf

    def value(metrics: Mapping[str, float]) -> float:
      return metrics.get(best_metric, worst)

    policies: list[Any] = [preservation_policy.LatestN(keep)]
    if best_metric:
      policies.append(
        preservation_policy.BestN(
          get_metric_fn=value, reverse=best_mode == "min", n=1, keep_checkpoints_without_metrics=False
        )
      )
    self._manager = ocp.CheckpointManager(
      _folder(workdir),
      options=ocp.CheckpointManagerOptions(
        best_fn=value if best_metric else None,
        best_mode=best_mode,
        preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
        cleanup_tmp_directories=True,
      ),
    )

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._manager.close()

  def latest(self) -> int | None:
    """The step of the latest checkpoint; None if there is none."""
    return self._manager.latest_step()

  def save(self, step: int, state: states.State, metrics: Mapping[str, float] | None = None) -> None:
    """Starts writing the state after `step` updates; does nothing if that one is there already."""
    if step in self._manager.all_steps():
      return
    metrics = {name: float(number) for name, number in (metrics or {}).items()}
    items: dict[str, Any] = {
      "variables": ocp.args.StandardSave(state.variables),
      "opt": ocp.args.StandardSave({"step": state.step, "opt": state.opt}),
      "meta": ocp.args.JsonSave({"step": step, "metrics": metrics, "jaxhands": __version__}),
    }
    if state.ema:
      items["ema"] = ocp.args.StandardSave(state.ema)
    self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics if self._metric else None)

  def restore(self, step: int, like: states.State) -> states.State:
    """Reads a state.

    Args:
      step: of a checkpoint.
      like: the state as `jax.ShapeDtypeStruct`s with shardings, which may be others than when it was saved.
    Raises:
      ValueError: the variables have other names or shapes.
    """
    self._manager.wait_until_finished()
    folder = pathlib.Path(self._manager.directory) / str(step)
    wanted: dict[str, Any] = {"variables": like.variables, "opt": {"step": like.step, "opt": like.opt}}
    if like.ema:
      wanted["ema"] = like.ema
    for item in {"variables", "ema"} & set(wanted):
      check_same(_stored(folder / item), states.leaves(wanted[item]), f"checkpoint {folder / item}", exact=True)
    found: Any = self._manager.restore(
      step, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(target) for item, target in wanted.items()})
    )
    return states.State(found.opt["step"], found.variables, found.opt["opt"], found.ema if like.ema else {})


def read_variables(workdir: pathlib.Path, target: states.Tree, which: Which = "latest") -> states.Tree:
  """Variables of a finished or running run, as host arrays; averaged ones where the run keeps averages.

  Args:
    workdir: of the run.
    target: what is wanted, as anything with `shape` and `dtype`; may be a part of what is there. No "constants".
    which: the latest or the best checkpoint.
  Raises:
    FileNotFoundError: no such run, or no checkpoint in it.
    ValueError: it lacks something that is wanted, or has it with another shape.
  """
  folder = checkpoint_folder(workdir, which)
  wanted = states.leaves(target)
  check_same(_stored(folder / "variables"), wanted, f"checkpoint {folder}")
  averaged = set(_stored(folder / "ema")) if (folder / "ema").is_dir() else set()
  found = {}
  for item, paths in {"variables": set(wanted) - averaged, "ema": set(wanted) & averaged}.items():
    if paths:
      part = traverse_util.unflatten_dict(
        {path: jax.ShapeDtypeStruct(wanted[path].shape, wanted[path].dtype) for path in paths}, sep="/"
      )
      arguments = ocp.checkpoint_utils.construct_restore_args(part)
      with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        read = reader.restore(
          folder / item, ocp.args.PyTreeRestore(item=part, restore_args=arguments, partial_restore=True)
        )
      found |= {path: np.asarray(leaf) for path, leaf in states.leaves(read).items()}
  return states.merge(target, traverse_util.unflatten_dict(found, sep="/"))


def stored(workdir: pathlib.Path, which: Which = "latest") -> dict[str, Any]:
  """Path -> shape and dtype of the variables of a run, without reading them.

  Raises:
    FileNotFoundError: no such run, or no checkpoint in it.
  """
  return _stored(checkpoint_folder(workdir, which) / "variables")


def checkpoint_folder(workdir: pathlib.Path, which: Which = "latest") -> pathlib.Path:
  """Folder of the latest or best checkpoint of a run; of its last stage, if it has stages.

  Raises:
    FileNotFoundError: there is none.
  """
  if not _folder(workdir).is_dir() and (workdir / "config.json").is_file():
    stages = read_config(workdir).stages
    if stages:
      return checkpoint_folder(workdir / "stages" / stages[-1], which)
  if not _folder(workdir).is_dir():
    raise FileNotFoundError(f"{workdir} holds no checkpoints; train first, or name the folder of a run")
  steps = ocp.utils.checkpoint_steps(_folder(workdir))
  if which == "best":
    config = read_config(workdir)
    sign = 1 if config.best_mode == "min" else -1
    values = {step: _metrics(_folder(workdir) / str(step)).get(config.best_metric) for step in sorted(steps)}
    found = {step: sign * value for step, value in values.items() if value is not None}
    steps = [min(found, key=lambda step: found[step])] if found else []
  if not steps:
    hint = "; set best_metric to keep a best one" if which == "best" else ""
    raise FileNotFoundError(f"{workdir} holds no {which} checkpoint{hint}")
  return _folder(workdir) / str(max(steps))


def check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str, exact: bool = False) -> None:
  """Compares names and shapes of two flat trees.

  Args:
    found: path -> anything with a shape.
    wanted: path -> anything with a shape.
    where: what `found` is, for the message.
    exact: whether `found` may hold no more than what is wanted.
  Raises:
    ValueError: naming the first difference and how many there are.
  """
  problems = [f"it lacks {path!r}" for path in wanted if path not in found]
  problems += [
    f"{path!r} has shape {tuple(found[path].shape)}, expected {tuple(wanted[path].shape)}"
    for path in wanted
    if path in found and tuple(found[path].shape) != tuple(wanted[path].shape)
  ]
  if exact:
    problems += [f"it has {path!r}, which the system has not" for path in found if path not in wanted]
  if problems:
    more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
    raise ValueError(f"{where} does not fit: {problems[0]}{more}")


def write_config(workdir: pathlib.Path, config: ConfigDict) -> None:
  """Writes `config.json`, whole or not at all."""
  workdir.mkdir(parents=True, exist_ok=True)
  # Stages may be trained by several processes, on several machines.
  with tempfile.NamedTemporaryFile("w", dir=workdir, prefix=".config.", delete=False) as temporary:
    temporary.write(config.to_json(indent=2, sort_keys=True) + "\n")
  pathlib.Path(temporary.name).chmod(0o644)
  pathlib.Path(temporary.name).replace(workdir / "config.json")


def read_config(workdir: pathlib.Path) -> Any:
  """The config that a run was made with; tuples come back as tuples.

  Raises:
    FileNotFoundError: not the folder of a run.
  """
  path = workdir / "config.json"
  if not path.is_file():
    raise FileNotFoundError(f"{workdir} is not the folder of a run: it has no config.json")
  return ConfigDict(_tuples(json.loads(path.read_text())))


def _tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _tuples(inner) for key, inner in value.items()}
  return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def _folder(workdir: pathlib.Path) -> pathlib.Path:
  return workdir.absolute() / "checkpoints"


def _metrics(folder: pathlib.Path) -> dict[str, float]:
  """Of the evaluation that came with a checkpoint; {} if none did."""
  return json.loads((folder / "meta" / "metadata").read_text())["metrics"]


def _stored(item: pathlib.Path) -> dict[str, Any]:
  """Path -> shape and dtype of what is in an item."""
  reader: Any = ocp.PyTreeCheckpointHandler()
  return states.leaves(reader.metadata(item).tree)
