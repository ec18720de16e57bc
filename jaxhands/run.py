"""From a config to trained and evaluated stages, and the answer of the run."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax

from jaxhands.configuration import requirements, rules
from jaxhands.runs import folder as run_files
from jaxhands.runs import run_data, stages
from jaxhands.runs.stage import Stage, check_trained, starts_anew
from jaxhands.train import checkpoint

Mode = Literal["train", "eval", "train_and_eval"]
Report = Callable[[pathlib.Path], None]


def run(
  config: Any,
  workdir: pathlib.Path,
  mode: Mode = "train_and_eval",
  find_data: run_data.FindData | None = None,
  report: Report | None = None,
  only: str = "",
  profile_steps: int = 0,
) -> bool:
  """Does what a mode asks for, stage by stage, going on from what `workdir` holds.

  Writes `config.json`, checkpoints and logs (of stages below `stages/NAME`), and `eval/metrics.json` of the last stage.
  An evaluation leaves in `config.json` what was trained.

  Args:
    config: as `configs/NAME.py` makes it.
    workdir: folder of the run.
    mode: "train", "eval" or "train_and_eval".
    find_data: `(name, variant, config.data) -> folder` of a data set; by default those that were built are found.
    report: called with `workdir` after the evaluation of the last stage, by the first process.
    only: this stage alone; those that it starts from must be finished. Several processes may each have one.
    profile_steps: of each stage that are traced into its folder, see `train.profile`; 0 = none.
  Returns:
    False if a signal stopped the training; what is done is saved.
  Raises:
    ValueError: the config is wrong; before anything is computed.
    OSError: data, a run, what is to be evaluated or a file is missing, or another process writes into the folder
      (`lock.FolderInUseError`).
  """
  checkpoint.check_name(workdir)
  if profile_steps and mode == "eval":
    raise ValueError(f"{profile_steps} steps of training cannot be profiled in mode 'eval'")
  rules.check(config)
  described = dict(stages.of(config))
  for name, stage in described.items():
    rules.check(stage, name)
  stages.check_sources(described)
  stages.check_continues(workdir, config)
  if only and only not in described:
    raise ValueError(f"there is no stage {only!r}; config.stages are {tuple(config.stages) or 'none'}")
  folder = {name: run_files.of_stage(workdir, name) for name in described}
  needs_others = bool(only) and starts_anew(folder[only], described[only], mode != "eval")
  for earlier in stages.sources(described[only]) if needs_others else ():
    if not stages.is_finished(folder[earlier]):
      raise ValueError(f"stage {only!r} starts from {earlier!r}, which is not finished: do --stage={earlier} first")
  given = described[only].data.root_depths if only else ""
  if given.startswith("stages/") and not pathlib.Path(run_data.root_depths(described[only], workdir)).is_file():
    raise ValueError(f"stage {only!r} reads {given!r}, which is not evaluated: do --stage={given.split('/')[1]} first")
  chosen = [only] if only else list(described)
  for name in chosen:
    stages.check_continues(folder[name], described[name])
  if mode != "eval":
    requirements.check(config, described, chosen)
  else:
    for name in chosen:
      check_trained(folder[name], described[name])
  *others, last = described
  ends = chosen[-1] == last  # with the run's own answer
  with stages.only_writer([folder[name] for name in chosen] + ([workdir] if ends else [])):
    parts = [Stage(described[name], folder[name], workdir, find_data, mode != "eval") for name in chosen]
    if jax.process_index() == 0:
      for path, written in (*((part.workdir, part.config) for part in parts), *([(workdir, config)] if last else [])):
        checkpoint.write_config(path, written if mode != "eval" else stages.evaluated_anew(path, written))
    # Wrists' depths that an evaluation writes may be what a later stage is evaluated with while it is trained.
    read_later = {pathlib.PurePath(stage.data.root_depths) for stage in described.values()}
    for name, part in zip(chosen, parts, strict=True):
      variables = None
      if mode != "eval" and (variables := part.train(profile_steps)) is None:
        return False
      if mode != "train" or pathlib.PurePath(run_files.STAGES, name) in read_later:
        part.evaluate(variables, timed=name == last)
    if mode != "train" and ends and jax.process_index() == 0:
      if last:
        but_the_answer = shutil.ignore_patterns(pathlib.PurePath(run_files.METRICS).name)
        theirs, ours = folder[last] / run_files.EVALUATION, workdir / run_files.EVALUATION
        shutil.copytree(theirs, ours, ignore=but_the_answer, dirs_exist_ok=True)
        answer = _with_stages(folder[last] / run_files.METRICS, {name: folder[name] for name in others})
        run_files.write_json(workdir / run_files.METRICS, answer)  # last: with it the run counts as evaluated
      if report is not None:
        report(workdir)
  return True


def _with_stages(answer: pathlib.Path, others: Mapping[str, pathlib.Path]) -> dict[str, Any]:
  """The last stage's answer with further methods: the earlier stages that were evaluated on the same examples alike."""
  again = "evaluate that stage again, with --mode=eval"
  result = run_files.read_json(answer, again, ("metrics", "also"))
  same = ("system", "dataset", "split", "examples", "protocol")
  for name, folder in others.items():
    path = folder / run_files.METRICS
    earlier = run_files.read_json(path, again) if path.is_file() else {}  # trained on its own, and not evaluated
    if earlier and all(earlier[key] == result[key] for key in same):
      compared = {key: value for key, value in earlier["metrics"].items() if key in result["metrics"]}
      result["also"].append({"protocol": earlier["protocol"], "method": name, "metrics": compared})
  return result
