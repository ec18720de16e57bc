"""What a run keeps on disk: its config, and checkpoints of its state.

A checkpoint has separate items, so that a predictor reads `variables` (and `ema`) only:

    WORKDIR/config.json
    WORKDIR/checkpoints/STEP/{variables,ema,opt,meta}

Of kept weights (`jaxhands.weights.kept`) there are the averaged variables alone, in another file.
`variables["constants"]` is in none of them. `meta` has a checksum of each array, which is looked at whenever one is
read. This is the only file that knows the checkpoint library; whether a run goes on is decided in `train.loop`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxhands import __version__
from jaxhands.configuration.ordered import Ordered
from jaxhands.paths import check_on_disk
from jaxhands.runs import folder as files
from jaxhands.train import checksums
from jaxhands.train import state as states
from jaxhands.weights import kept

Which = Literal["evaluated", "latest", "best"]
_COMMITTED = "commit_success.txt"  # in a checkpoint and its items, if the library is new enough
_REMOVED = ".removed"  # where checkpoints are put, in one step, that are to be deleted
_ADVICE = "take a copy or another checkpoint, or train again"
_UNCHOSEN = "; set best_metric to keep a best one"
_log = logging.getLogger(__name__)


def check_name(workdir: pathlib.Path) -> None:
  """Refuses a folder into which checkpoints cannot be written.

  Raises:
    ValueError: its name is no text.
    FileNotFoundError: it is an address, as gs://BUCKET.
  """
  check_on_disk(workdir)
  if os.fsencode(workdir) != str(workdir).encode(errors="replace"):
    raise ValueError(f"the name {str(workdir)!r} is not UTF-8, or this locale is not; name another folder")


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
      ValueError, FileNotFoundError: `keep` below 1 or another mode, or a folder that `check_name` refuses.
    """
    check_name(workdir)
    if keep < 1 or best_mode not in ("min", "max"):
      raise ValueError(f"keep is {keep} and best_mode {best_mode!r}; they are at least 1, and 'min' or 'max'")
    self._metric = best_metric
    worst = math.inf if best_mode == "min" else -math.inf

    def value(metrics: Mapping[str, float]) -> float:
      return metrics.get(best_metric, worst)

    if jax.process_index() == 0:
      _set_aside(_folder(workdir))
    self._removed = _folder(workdir) / _REMOVED
    self._clear_removed()
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices("what is left of older checkpoints is set aside")
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
        todelete_subdir=_REMOVED,
      ),
    )

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._manager.close()
    self._clear_removed()

  def _clear_removed(self) -> None:
    """Deletes what the library has put away: a run that is killed meanwhile leaves no half of a checkpoint."""
    for path in self._removed.glob("*") if jax.process_index() == 0 else ():
      shutil.rmtree(path, ignore_errors=True)

  def latest(self) -> int | None:
    """The step of the latest checkpoint; None if there is none."""
    return self._manager.latest_step()

  def save(self, step: int, state: states.State, metrics: Mapping[str, float] | None = None) -> None:
    """Starts writing the state after `step` updates; of one that is there already, only metrics that choose the best.

    Those that a checkpoint lacks, because its evaluation failed or was not waited for, may come later.
    """
    metrics = {name: float(number) for name, number in (metrics or {}).items()}
    if step in self._manager.all_steps():
      if self._metric and metrics:
        self._add_metrics(step, metrics)
      return
    self._clear_removed()
    trees: dict[str, Any] = {"variables": state.variables, "opt": {"step": state.step, "opt": state.opt}}
    if state.ema:
      trees["ema"] = state.ema
    # The first process writes them for all; an array that no process holds as a whole all must bring together.
    sums = {item: checksums.of(tree) for item, tree in trees.items()}
    items: dict[str, Any] = {item: ocp.args.StandardSave(tree) for item, tree in trees.items()}
    items["meta"] = ocp.args.JsonSave({"step": step, "metrics": metrics, "jaxhands": __version__, "sums": sums})
    self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics if self._metric else None)

  def _add_metrics(self, step: int, metrics: dict[str, float]) -> None:
    """Writes each of two files as a whole; whoever is killed between them has not evaluated, by `metrics`."""
    self._manager.wait_until_finished()
    folder = pathlib.Path(self._manager.directory) / str(step)
    if jax.process_index() == 0:
      files.write_json(folder / "metrics" / "metrics", metrics)  # the library's, which keeps the best by it
      files.write_json(folder / "meta" / "metadata", _meta(folder) | {"metrics": metrics})
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices("the metrics of a checkpoint are written")
    self._manager.reload()

  def metrics(self, step: int) -> dict[str, float]:
    """Of the evaluation of a checkpoint that is written; {} = it is not evaluated."""
    return _meta(pathlib.Path(self._manager.directory) / str(step))["metrics"]

  def restore(self, step: int, like: states.State) -> states.State:
    """Reads a state.

    Args:
      step: of a checkpoint.
      like: the state as `jax.ShapeDtypeStruct`s with shardings, which may be others than when it was saved.
    Raises:
      ValueError: the variables have other names or shapes, or the checkpoint is damaged.
    """
    self._manager.wait_until_finished()
    folder = pathlib.Path(self._manager.directory) / str(step)
    wanted: dict[str, Any] = {"variables": like.variables, "opt": {"step": like.step, "opt": like.opt}}
    if like.ema:
      wanted["ema"] = like.ema
    for item in {"variables", "ema"} & set(wanted):
      check_same(_stored(folder / item), states.leaves(wanted[item]), f"checkpoint {folder / item}", exact=True)
    with _named(folder):
      read: Any = self._manager.restore(
        step, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(target) for item, target in wanted.items()})
      )
    _check_sums(folder, {item: checksums.of(read[item]) for item in wanted})
    return states.State(read.opt["step"], read.variables, read.opt["opt"], read.ema if like.ema else {})


def read_variables(workdir: pathlib.Path, target: states.Tree, which: Which = "evaluated") -> states.Tree:
  """Variables of a finished or running run, as host arrays; averaged ones where the run keeps averages.

  Args:
    workdir: of the run.
    target: what is wanted, as anything with `shape` and `dtype`; may be a part of what is there. No "constants".
    which: see `checkpoint_folder`.
  Raises:
    FileNotFoundError: no such run, or no checkpoint in it.
    ValueError: it is damaged, lacks something that is wanted, or has it with another shape.
  """
  wanted = states.leaves(target)
  if is_kept(workdir):
    arrays = kept.read(workdir)
    check_same(arrays, wanted, f"{workdir / kept.FILE}")
    arrays = {path: arrays[path].astype(leaf.dtype) for path, leaf in wanted.items()}
    return states.merge(target, traverse_util.unflatten_dict(arrays, sep="/"))
  folder = checkpoint_folder(workdir, which)
  there = _stored(folder / "variables")
  check_same(there, wanted, f"checkpoint {folder}")
  averaged = set(_stored(folder / "ema")) if (folder / "ema").is_dir() else set()
  arrays, sums = {}, {}
  for item, paths in {"variables": set(wanted) - averaged, "ema": set(wanted) & averaged}.items():
    if paths:
      # As they are stored, for their checksums.
      part = traverse_util.unflatten_dict(
        {path: jax.ShapeDtypeStruct(there[path].shape, there[path].dtype) for path in paths}, sep="/"
      )
      arguments = ocp.checkpoint_utils.construct_restore_args(part)
      with _named(folder), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        read = reader.restore(
          folder / item, ocp.args.PyTreeRestore(item=part, restore_args=arguments, partial_restore=True)
        )
      sums[item] = checksums.of(read)
      arrays |= {path: np.asarray(leaf).astype(wanted[path].dtype) for path, leaf in states.leaves(read).items()}
  _check_sums(folder, sums)
  return states.merge(target, traverse_util.unflatten_dict(arrays, sep="/"))


def stored(workdir: pathlib.Path, which: Which = "evaluated") -> dict[str, Any]:
  """Path -> shape and dtype of the variables of a run, without reading them.

  Raises:
    FileNotFoundError: no such run, or no checkpoint in it.
  """
  return kept.read(workdir) if is_kept(workdir) else _stored(checkpoint_folder(workdir, which) / "variables")


def is_kept(workdir: pathlib.Path) -> bool:
  """Whether a folder holds kept weights, and no checkpoints."""
  return (workdir / kept.FILE).is_file()


def checkpoint_folder(workdir: pathlib.Path, which: Which = "evaluated") -> pathlib.Path:
  """Folder of a checkpoint of a run; of its last stage, if it has stages.

  Args:
    workdir: of the run.
    which: the latest, the best, or that of the two whose numbers the run has, as its `eval.checkpoint` says.
  Raises:
    FileNotFoundError: there is none.
  """
  if not _folder(workdir).is_dir() and (workdir / files.CONFIG).is_file():
    stages = read_config(workdir).stages
    if stages:
      return checkpoint_folder(workdir / files.STAGES / list(stages)[-1], which)
  if not _folder(workdir).is_dir():
    raise FileNotFoundError(f"{workdir} holds no checkpoints; train first, or name the folder of a run")
  steps = [step for step in ocp.utils.checkpoint_steps(_folder(workdir)) if _whole(_folder(workdir) / str(step))]
  if which == "evaluated":  # weights alone have no config, and older ones no choice
    has_config = (workdir / files.CONFIG).is_file()
    which = read_config(workdir).get("eval", {}).get("checkpoint", "latest") if has_config else "latest"
  if which == "best" and steps != [0]:  # what is assembled or imported is not chosen from others
    config = read_config(workdir)
    sign = 1 if config.best_mode == "min" else -1
    values = {step: _meta(_folder(workdir) / str(step))["metrics"].get(config.best_metric) for step in sorted(steps)}
    values_kept = {step: sign * value for step, value in values.items() if value is not None}
    steps = [min(values_kept, key=lambda step: values_kept[step])] if values_kept else []
  if not steps:
    parts = sorted(path for path in _folder(workdir).glob("[0-9]*") if not _whole(path))
    hint = f"; {parts[-1]} lacks files; {_ADVICE}" if parts else ""
    if which == "best":
      name = read_config(workdir).best_metric
      hint = f"; none has {name!r}: go on with its training, which measures that" if name else _UNCHOSEN
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
  with files.written(workdir / files.CONFIG) as file:
    file.write((config.to_json(indent=2) + "\n").encode())  # not sorted: stages have an order


def read_config(workdir: pathlib.Path) -> Any:
  """The config that a run was made with; tuples come back as tuples.

  Raises:
    FileNotFoundError: not the folder of a run.
    DamagedFile: its config is damaged.
    ValueError: when the first field is asked for: it is the config of something else.
  """
  path = workdir / files.CONFIG
  if not path.is_file():
    raise FileNotFoundError(f"{workdir} is not the folder of a run: it has no config.json")
  content = _tuples(files.read_json(path, "put back a copy, or choose another --workdir", ()))
  if not isinstance(content.get("stages"), dict | tuple) or not (content["stages"] or "system" in content):
    return _OfNoRun({"file": str(path)})
  config = ConfigDict(content)
  # Of runs begun before stages were whole configs, their names alone.
  if isinstance(content.get("stages"), dict):
    config.stages = Ordered(content["stages"])
  return config


class _OfNoRun(ConfigDict):
  """Stands for the config of something else, as other programs call theirs `config.json`; it has no fields."""

  def __getattr__(self, attribute: str) -> Any:
    raise ValueError(f"{self['file']} is not the config of a run; name the folder of one, or another --workdir")


def _tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _tuples(inner) for key, inner in value.items()}
  return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def _folder(workdir: pathlib.Path) -> pathlib.Path:
  return workdir.absolute() / files.CHECKPOINTS


def _whole(folder: pathlib.Path) -> bool:
  """False of what is left of a checkpoint when a run is killed while it removes it."""
  committed = (folder / _COMMITTED).is_file() or not any(folder.glob(f"*/{_COMMITTED}"))
  return committed and all((folder / mark).exists() for mark in ("_CHECKPOINT_METADATA", "meta/metadata", "variables"))


def _set_aside(folder: pathlib.Path) -> None:
  """Renames what is left of older checkpoints: the library would take it for whole, and never write that step."""
  for path in folder.glob("*"):
    if path.name.isdigit() and not _whole(path):
      names = (f"{path.name}.incomplete{n or ''}" for n in itertools.count())
      aside = next(folder / name for name in names if not (folder / name).exists())
      _log.warning("%s is not whole; it is set aside as %s, which may be deleted", path, aside.name)
      path.replace(aside)


def _meta(folder: pathlib.Path) -> dict[str, Any]:
  """Of a checkpoint: "metrics" of the evaluation that came with it, {} if none did; "sums", if it is new enough."""
  return files.read_json(folder / "meta" / "metadata", _ADVICE, ("metrics",))


def _stored(item: pathlib.Path) -> dict[str, Any]:
  """Path -> shape and dtype of what is in an item."""
  reader: Any = ocp.PyTreeCheckpointHandler()
  with _named(item.parent):
    return states.leaves(reader.metadata(item).tree)


def _check_sums(folder: pathlib.Path, found: Mapping[str, Mapping[str, str]]) -> None:
  """Raises `ValueError` if arrays that were read are not those that were written.

  Args:
    folder: of the checkpoint.
    found: item -> `checksums.of` what was read of it.
  """
  written = _meta(folder).get("sums")
  if written is None:
    _log.warning("%s has no checksums, as it was written before they were kept: damage to it would not be seen", folder)
    return
  bad = checksums.different(found, written)
  if bad:
    raise ValueError(f"{folder} is damaged: {len(bad)} arrays, first {bad[0]!r}, are not what was written; {_ADVICE}")


@contextlib.contextmanager
def _named(folder: pathlib.Path) -> Iterator[None]:
  """Says which checkpoint it was that the library could not read."""
  try:
    yield
  except Exception as error:  # it raises nearly anything, of damaged files
    words = " ".join(str(error).split())[:300]
    raise ValueError(f"{folder} is damaged, it cannot be read ({type(error).__name__}: {words}); {_ADVICE}") from error
