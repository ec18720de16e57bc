"""Draws what a network really sees in a step of training: crops after augmentation, with joints, targets, masks and
parts.

    python -m jaxhands show internet:tiny --out=seen.png
    python -m jaxhands show hdr:tiny --stage=hasm --step=100 --examples=4
    python -m jaxhands show digit --config.data.augmentation.rotation_deg=90

Of the batch of that step the first examples, one a row. The same data are read, and the same changes drawn at random,
as when the config is trained. Of a config with stages, each gets a sheet of its own, or `--stage` alone.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from jaxhands.configuration import command_line, locate
from jaxhands.paths import expanded


def main(program: str, arguments: Sequence[str]) -> int:
  """Writes the sheets, and says where they are.

  Raises:
    ValueError, OSError: the config is wrong, has no such stage, or its data are missing or cannot be built.
  """
  values = command_line.read(program, "CONFIG[:VARIANT]", __doc__, arguments, define_flags)
  # Heavy imports are here: a wrong flag is refused at once.
  import cv2

  from jaxhands.drawing import inputs
  from jaxhands.runs import folder as files
  from jaxhands.runs import run_data
  from jaxhands.terminal import console

  config = values["config"]
  out = expanded(values["out"] or f"{config.name}-{config.variant}.png")
  if out.suffix != ".png":
    raise ValueError(f"--out={out} is no .png")
  step, examples = values["step"], values["examples"]
  find = locate.module_beside("data_builders.find").find
  shards = locate.module_beside("data_builders.shards")
  chosen = list(_chosen(config, values["stage"]))
  trained = [one for one in chosen if one[2].objectives]
  if not trained:
    what = values["stage"] or f"{config.name}-{config.variant}"
    raise ValueError(f"{what!r} is assembled of other trainings and sees nothing itself: show one of those")
  for name, stage, system in trained:
    try:
      given = inputs.of_step(run_data.RunData(stage, system, pathlib.Path(), find), step)
    except shards.BuildError as error:
      raise ValueError(console.one_line(error)) from error
    what = "-".join(filter(None, (config.name, config.variant, name)))
    title = f"{what}: step {step}, seed {stage.seed}, batch of {stage.batch_size}"
    path = out if len(chosen) == 1 else out.with_name(f"{out.stem}-{name}.png")
    ok, encoded = cv2.imencode(".png", inputs.sheet(given, title, examples)[..., ::-1])
    assert ok, path
    with files.written(path) as file:
      file.write(encoded.tobytes())
    print(path)
  return 0


def define_flags(values: flags.FlagValues) -> None:
  """Adds the flags besides the config."""
  own: dict[str, Any] = {"flag_values": values}
  flags.DEFINE_string("out", None, "picture to write (default: NAME-VARIANT.png)", **own)
  flags.DEFINE_string("stage", "", "this stage of the config alone", **own)
  flags.DEFINE_integer("step", 0, "step of training, from 0", lower_bound=0, **own)
  flags.DEFINE_integer("examples", 8, "rows at most", lower_bound=1, **own)


def _chosen(config: Any, only: str) -> Iterator[tuple[str, Any, Any]]:
  """Name, config and system of each stage, looked at as before a training."""
  from jaxhands.configuration import rules
  from jaxhands.runs import stages
  from jaxhands.systems import construct
  from jaxhands.train import distributed

  rules.check(config)
  described = dict(stages.of(config))
  if only and only not in described:
    raise ValueError(f"there is no stage {only!r}; config.stages are {tuple(config.stages) or 'none'}")
  for name, stage in described.items():
    if only in ("", name):
      rules.check(stage, name)
      with rules.while_building():
        system = construct.load(stage)
      rules.check_system(system)
      rules.check_read(stage, system)
      if system.objectives:
        # On one device: a sheet may be drawn elsewhere than the training will be.
        distributed.check_batch_size(stage.batch_size, stage.accumulation, distributed.make_mesh(devices=1))
      yield name, stage, system
