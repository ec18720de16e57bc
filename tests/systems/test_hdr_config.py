"""HDR's config: what its stages share, what they start from, which switches mean something to which."""

import pytest

from configs import hdr
from jaxhands.runs import stages
from jaxhands.train import checkpoint, time_budget
from jaxhands.weights import kept


@pytest.mark.parametrize("size", ["demo,scratch", "tiny", "small", "kept"])
def test_stages_share_one_data_set_and_start_from_each_other(size):
  parts = dict(stages.of(hdr.get_config(size)))
  assert list(parts) == ["hasm", "hdrm", "hdrm_finetune", "shpe", "pipeline"]
  for key in ("train", "eval", "synthetic", "aih", "dir") if size != "small" else ("synthetic", "aih", "dir"):
    assert len({str(stage.data[key]) for stage in parts.values()}) == 1, key
  for name, stage in parts.items():
    if name not in ("hdrm_finetune", "pipeline"):
      own = hdr.get_config(f"{size},{name}")
      assert stage.system.to_dict() == own.system.to_dict()
      for key in ("optimizer", "schedule", "train_for", "batch_size", "ema", "clip_norm"):
        assert str(stage[key]) == str(own[key]), (name, key)
  used = {source.partition(":")[0] for stage in parts.values() for source in stage.init_from.values() if source}
  of_package = {"kept/internet"} if size == "kept" else set()  # HASM's trunk
  assert used == {"stages/hasm", "stages/hdrm", "stages/hdrm_finetune", "stages/shpe"} | of_package
  whole = parts["pipeline"].system
  assert whole.hasm.to_dict() == parts["hasm"].system.to_dict()
  assert whole.pose.to_dict() == parts["shpe"].system.to_dict()


def test_the_demo_starts_from_the_weights_of_the_package():
  parts = dict(stages.of(hdr.get_config("demo")))
  assert list(parts) == [time_budget.METHOD, "hasm", "shpe", "pipeline"]
  sources = {name: {key: text for key, text in part.init_from.items() if text} for name, part in parts.items()}
  assert sources == {
    "at_the_start": {"all": "kept/hdr"},
    "hasm": {"all": "kept/hdr:hasm"},
    "shpe": {"all": "kept/hdr:pose"},
    "pipeline": {"hasm": "stages/hasm:.", "hdrnet": "kept/hdr", "pose": "stages/shpe:."},
  }
  kept_config = checkpoint.read_config(kept.folder("hdr"))
  for name in ("at_the_start", "pipeline"):
    assert parts[name].system.to_dict() == kept_config.system.to_dict()


@pytest.mark.parametrize(
  ("variant", "hdrm", "hasm"),
  [
    ("demo,hdrm_finetune,scratch", "demo-hdrm-scratch", "demo-hasm-scratch"),
    ("demo,hdrm_finetune,scratch,no_removal", "demo-hdrm-scratch-no_removal", "demo-hasm-scratch"),
    ("paper,hdrm_finetune,released", "paper-hdrm-released", "paper-hasm-released"),
    ("demo,hdrm_finetune", "demo-hdrm", "demo-hasm"),
  ],
)
def test_fine_tuning_starts_from_the_runs_of_its_switches(variant, hdrm, hasm):
  """Runs are named after their variant."""
  source = hdr.get_config(variant).init_from
  assert (source.hdrnet, source.discriminator, source.hasm) == (
    f"runs/hdr-{hdrm}", f"runs/hdr-{hdrm}", f"runs/hdr-{hasm}:."
  )  # fmt: skip
  assert hdr.get_config(hasm.replace("-", ",")).variant == hasm


def test_size_small_learns_recovery_from_aih_and_all_else_from_the_embedded_hands():
  parts = dict(stages.of(hdr.get_config("small,with_aih")))
  aih = ("aih/render:train", "aih/syn:train")
  assert parts["hdrm"].data.train == parts["hdrm_finetune"].data.train == aih
  assert parts["hasm"].data.train == ("synthetic/demo:train",)
  assert parts["shpe"].data.train == ("synthetic/demo:train", *aih)
  assert parts["shpe"].data.kind == "single,all,all"
  assert {part.data.eval for name, part in parts.items() if "hdrm" not in name} == {("synthetic/demo:val",)}
  assert dict(stages.of(hdr.get_config("small,syn_only")))["hdrm"].data.train == aih[1:]


@pytest.mark.parametrize("flag", ["data.aih.train", "stages.hdrm.data.aih.train"])
def test_stages_that_learn_from_aih_have_as_much_of_it(flag):
  config = hdr.get_config("paper,with_aih")
  assert config.data.aih.train == 2_900_000
  config.update_from_flattened_dict({flag: 20_000})
  made = {name: part.data.aih.train for name, part in stages.of(config)}
  assert made == {"hasm": 10_000, "hdrm": 20_000, "hdrm_finetune": 20_000, "shpe": 20_000, "pipeline": 10_000}
  # Of one part of AIH for HDRM and of both for SHPE there are different numbers.
  config = hdr.get_config("paper,syn_only,with_aih")
  assert set(config.data.aih) == {"singles", "poses", "mano", "textures", "val", "test", "seed"}
  assert dict(stages.of(config))["shpe"].data.aih.train == 2_900_000


def test_a_part_gets_the_switches_that_it_has():
  parts = dict(stages.of(hdr.get_config("paper,released,no_transformer,syn_only,with_aih")))
  assert parts["hasm"].system.released
  assert not parts["hdrm"].system.transformers
  assert parts["hdrm_finetune"].data.train == ("aih/syn:train",)
  assert parts["shpe"].data.train == ("interhand26m:train", "aih:train")
  ablated = dict(stages.of(hdr.get_config("tiny,no_removal")))["pipeline"]
  assert ablated.system.hdrm.over == "occluded"
  assert set(ablated.eval.methods) == {"pose_alone", "true_masks", "pose_alone_true_masks"}
  with pytest.raises(ValueError, match="with_aih changes nothing of pipeline"):
    hdr.get_config("paper,internet_pose,with_aih")
