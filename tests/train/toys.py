"""Small systems with what makes training hard: statistics, randomness, two objectives, a data-dependent start."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from configs import base as base_config
from jaxhands import schema
from jaxhands.systems import base
from jaxhands.train import checkpoint, distributed

IMAGE = (8, 8, 3)
EXAMPLES = 40


class Trunk(nn.Module):
  """Two layers with batch normalisation and dropout."""

  width: int
  outputs: int

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    x = nn.Dense(self.width, use_bias=False)(x)
    x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    x = nn.Dropout(0.1, deterministic=not train)(nn.relu(x))
    return nn.Dense(self.outputs)(x)


def _pixels(batch: schema.Batch) -> jax.Array:
  return batch["image"].reshape(batch["image"].shape[0], -1)


@dataclasses.dataclass(frozen=True)
class Regressor:
  """One objective: `neck` and `head` regress the joints; `constants` shift them."""

  width: int = 16
  frozen: tuple[str, ...] = ()

  view = "pair"
  needs = frozenset({"image", "joints_cam"})

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    return (base.Objective("pose", ("neck", "head"), ("batch_stats",), fn=self._loss),)

  def _parts(self) -> dict[str, Trunk]:
    return {"neck": Trunk(self.width, self.width), "head": Trunk(self.width, 126)}

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    x = _pixels(batch)
    variables: base.Variables = {"params": {}, "batch_stats": {}, "constants": {"offset": jnp.full((126,), 0.5)}}
    for key, (name, part) in zip(jax.random.split(rng, 2), self._parts().items(), strict=True):
      fresh = part.init(key, x, train=False)
      variables["params"][name], variables["batch_stats"][name] = fresh["params"], fresh["batch_stats"]
      x = part.apply(fresh, x, train=False)
    # As ActNorm does: the first batch decides.
    variables["params"]["head"]["Dense_1"]["bias"] -= jnp.mean(jnp.asarray(x), axis=0)
    return variables

  def _apply(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array, train: bool) -> Any:
    x, state = _pixels(batch), {}
    for key, (name, part) in zip(jax.random.split(rng, 2), self._parts().items(), strict=True):
      own = {kind: variables[kind][name] for kind in ("params", "batch_stats")}
      learns = train and name not in self.frozen
      x, updates = part.apply(own, x, train=learns, rngs={"dropout": key}, mutable=["batch_stats"])
      state[name] = updates["batch_stats"]
    return x + variables["constants"]["offset"], {"batch_stats": state}

  def _loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    out, state = self._apply(variables, batch, rng, train=True)
    error = out - batch["joints_cam"].reshape(out.shape) / 100
    loss = jnp.mean(error**2)
    return base.LossOut(loss, {"error_mm": 100 * jnp.mean(jnp.abs(error))}, state)

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    out = self._apply(variables, batch, rng, train=False)[0].reshape(-1, 2, 21, 3) * 100
    size = out.shape[0]
    return {
      "joints_img": out[..., :2],
      "joints_rel_depth": out[..., 2] - out[..., 20:, 2],
      "rel_root_depth": out[:, 1, 20, 2] - out[:, 0, 20, 2],
      "hand_prob": jnp.ones((size, 2)),
      "confidence": jnp.ones((size, 2, 21)),
      "scale_known": jnp.ones(size, bool),
      "joints_cam": out,
    }

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    return ()

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    image = batch["image"].astype(jnp.float32) / 255
    jitter = jax.random.uniform(rng, (image.shape[0], 1, 1, 3), minval=0.8, maxval=1.2)
    return dict(batch) | {"image": image * jitter if train else image}

  def import_weights(self, state_dict: Any) -> base.Variables:
    raise ValueError(f"there are no weights of others for this system: {sorted(state_dict)}")


@dataclasses.dataclass(frozen=True)
class Adversarial(Regressor):
  """Two objectives: a generator of pixels, and a discriminator with batch statistics of its own."""

  needs = frozenset({"image"})

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    return (
      base.Objective("generator", ("generator",), ("batch_stats/generator",), fn=self._generator_loss),
      base.Objective("discriminator", ("discriminator",), ("batch_stats/discriminator",), fn=self._discriminator_loss),
    )

  def _parts(self) -> dict[str, Trunk]:
    return {"generator": Trunk(self.width, int(np.prod(IMAGE))), "discriminator": Trunk(self.width, 1)}

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    variables: base.Variables = {"params": {}, "batch_stats": {}}
    for key, (name, part) in zip(jax.random.split(rng, 2), self._parts().items(), strict=True):
      fresh = part.init(key, _pixels(batch), train=False)
      variables["params"][name], variables["batch_stats"][name] = fresh["params"], fresh["batch_stats"]
    return variables

  def _run(self, variables: base.Variables, name: str, x: jax.Array, rng: jax.Array) -> tuple[jax.Array, Any]:
    own = {kind: variables[kind][name] for kind in ("params", "batch_stats")}
    x, updates = self._parts()[name].apply(own, x, train=True, rngs={"dropout": rng}, mutable=["batch_stats"])
    return jnp.asarray(x), {"batch_stats": {name: updates["batch_stats"]}}

  def _generator_loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    fake, state = self._run(variables, "generator", 1 - _pixels(batch), rng)
    score, _ = self._run(variables, "discriminator", fake, rng)
    l1 = jnp.mean(jnp.abs(fake - _pixels(batch)))
    return base.LossOut(l1 + 0.1 * jnp.mean(nn.softplus(-score)), {"l1": l1}, state)

  def _discriminator_loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    fake, _ = self._run(variables, "generator", 1 - _pixels(batch), rng)
    both = jnp.concatenate([_pixels(batch), jax.lax.stop_gradient(fake)])
    score, state = self._run(variables, "discriminator", both, rng)
    real, fake = jnp.split(score[:, 0], 2)
    return base.LossOut(jnp.mean(nn.softplus(-real)) + jnp.mean(nn.softplus(fake)), {}, state)


def config(**changes: Any) -> Any:
  """A short run that logs every step."""
  config = base_config.get_config()
  config.name, config.system.name = "toy", "toy"
  config.train_for, config.batch_size = "8 steps", 8
  config.log_every, config.eval_every, config.checkpoint_every = "1 step", "0 steps", "3 steps"
  config.optimizer.learning_rate = 1e-2
  # Gradients that are zero but for rounding (a bias before normalisation) would become whole steps of Adam.
  config.optimizer.eps = 1e-3
  config.ema = 0.99
  for name, value in changes.items():
    config[name] = value
  return config


def host_batch(step: int, size: int) -> dict[str, np.ndarray]:
  """The batch of a step, on the host."""
  rng = np.random.default_rng((7, step))
  ids = rng.permutation(EXAMPLES)[:size].astype(np.int32)
  image = np.stack([np.random.default_rng(int(i)).integers(0, 256, IMAGE, dtype=np.uint8) for i in ids])
  joints = np.stack([np.random.default_rng(1000 + int(i)).normal(0, 100, (2, 21, 3)) for i in ids])
  weight = np.ones(size, np.float32)
  return {"image": image, "joints_cam": joints.astype(np.float32), "example_id": ids, "weight": weight}


class Stream:
  """`batches` of `loop.train`, which remembers the ids that it gave; `spoil` changes a step's batch."""

  def __init__(self, mesh: Mesh, size: int, spoil: Any = None):
    self.mesh, self.size, self.spoil = mesh, size, spoil
    self.ids: dict[int, list[int]] = {}

  def __call__(self, start: int) -> Iterator[schema.Batch]:
    sharding = distributed.sharded(self.mesh)
    step = start
    while True:
      batch = host_batch(step, self.size)
      if self.spoil:
        batch = self.spoil(step, batch)
      self.ids[step] = batch["example_id"].tolist()
      yield {
        key: jax.make_array_from_callback(value.shape, sharding, lambda index, value=value: value[index])
        for key, value in batch.items()
      }
      step += 1


def scalars(workdir: pathlib.Path, name: str) -> dict[int, float]:
  """Step -> a scalar of `metrics.jsonl`."""
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return {line["step"]: line[name] for line in lines if name in line}


def everything(workdir: pathlib.Path) -> dict[str, np.ndarray]:
  """All arrays of the latest checkpoint, by item and path."""
  folder = checkpoint.checkpoint_folder(workdir)
  found = {}
  for item in ("variables", "ema", "opt"):
    if (folder / item).is_dir():
      handler: Any = ocp.PyTreeCheckpointHandler()
      tree = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), dict(handler.metadata(folder / item).tree)
      )
      read = handler.restore(folder / item, args=ocp.args.PyTreeRestore(restore_args=tree))
      for path, leaf in jax.tree_util.tree_leaves_with_path(read):
        found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
  return found


def assert_bit_equal(workdir: pathlib.Path, other: pathlib.Path) -> None:
  """Parameters, statistics, averages, optimizer and step of two runs are the same, bit by bit."""
  found, expected = everything(workdir), everything(other)
  assert found.keys() == expected.keys()
  assert any("opt" in path for path in found)
  different = [path for path in found if found[path].tobytes() != expected[path].tobytes()]
  assert not different, f"{len(different)} of {len(found)} differ: {different[:5]}"
