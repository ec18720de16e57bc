"""The page: one file without anything from outside, with a section for what is there and none for what is not."""

import html.parser
import json
import re
import shutil

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxhands import report
from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics import handedness, mean_pose
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.hands.model import HandModel
from jaxhands.report import charts, examples
from tests import replay
from tests.evaluation.metrics import scenes

COUNT = 14
TITLES = [
  "Results", "Under other protocols", "Error by joint", "Error by overlap of the hands", "Joints within a distance",
  "Bones of unequal length", "Pictures at random", "The worst pictures", "Training",
]  # fmt: skip
ORIGIN = {
  "code": {"version": "0.1.0", "commit": "0123456789abcdef", "modified": True}, "devices": "1 x <cpu>",
  "date": "2026-11-29T12:34+00:00", "command": "python launch.py --config=configs/x.py:tiny --workdir='a b'",
}  # fmt: skip


class Reader(html.parser.HTMLParser):
  """Checks that tags are closed in order; collects tags, attributes and text."""

  VOID = frozenset({"meta", "br"})

  def __init__(self, page):
    super().__init__()
    self.open, self.tags, self.text = [], [], []
    self.feed(page)
    self.close()
    assert not self.open, self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append((self.open[-1] if self.open else "", data))

  def titles(self):
    return [text for tag, text in self.text if tag == "h2"]

  def having(self, kind):
    return [attrs for _, attrs in self.tags if kind in attrs.get("class", "").split()]


def evaluated(workdir, metrics=None, pictures=True, baseline=True, readings=False):
  """A run's folder with an evaluation of noisy truth."""
  truth = scenes.truth(count=COUNT)
  prediction = scenes.prediction(truth)
  prediction["hand_prob"] = np.where(truth["hand_present"], 0.9, 0.1).astype(np.float32)
  if pictures:
    rng = np.random.default_rng(0)
    truth["image"] = rng.integers(0, 255, (COUNT, 32, 24, 3), np.uint8)
    truth["crop_from_img"] = np.repeat(np.float32([[[0.04, 0, 0], [0, 0.06, 0]]]), COUNT, 0)
  if readings:
    truth["parts"] = rng.integers(0, 33, (COUNT, 16, 12), np.uint8)
    truth["parts_valid"] = np.arange(COUNT) % 3 > 0
    prediction["parts"] = rng.integers(0, 33, (COUNT, 16, 12), np.uint8)
    prediction["heatmaps"] = rng.random((COUNT, 2, 21, 8, 6), np.float32)
  mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
  protocol, other = Protocol(depth="gt"), Protocol(depth="gt", scale="gt")
  mean = mean_pose.MeanPose.fit([scenes.truth(seed=5, count=40)]) if baseline else None
  evaluator = Evaluator(replay.Replay(), mesh, metrics, protocol, also=() if metrics else (other,), baseline=mean)
  variables = replay.variables(prediction)
  result = evaluator(variables, replay.batches(truth, 7), ("re<play", "scenes", "test"), resamples=20)
  result.write(workdir / "eval")
  if pictures:
    chosen = examples.choose(result.examples_values, random=3, worst=2)
    some = {key: value[chosen.positions] for key, value in truth.items()}
    some["example_id"] = (4 * chosen.positions).astype(np.int32)
    examples.save(workdir / "eval" / "shown.npz", chosen, evaluator.look(variables, replay.batches(some, 5)))
  return result


def log(folder, seed=0):
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  lines = [
    {"step": step, "train/pose/loss": rng.uniform(), "train/images_per_s": 9.0, "train/seconds": 20.0}
    for step in range(1, 9)
  ]
  lines += [{"step": step, "eval/mpjpe/all": 20.0 - step} for step in (4, 8)]
  (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9, "tr')


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  result = evaluated(folder)
  log(folder)
  (folder / "config.json").write_text(json.dumps({"variant": "tiny", "stages": [], "name": "<b>"}))
  (folder / "eval" / "origin.json").write_text(json.dumps(ORIGIN))
  return folder, result


@pytest.fixture(scope="module")
def page(workdir):
  path = report.write(workdir[0])
  assert path == workdir[0] / "report" / "index.html"
  assert [file.name for file in path.parent.iterdir()] == ["index.html"]
  return path.read_text()


def test_nothing_comes_from_outside(page):
  references = re.findall(r"""(?:href|src|url)\s*[=(]\s*["']?([^"')>\s]+)""", page)
  assert len(references) > 5
  assert all(reference.startswith(("#", "data:image/jpeg;base64,")) for reference in references)
  assert "http" not in page
  assert "<script" not in page
  assert len(page) < 1_000_000


def test_all_sections_are_there_and_well_formed(page):
  reader = Reader(page)
  assert reader.titles() == TITLES
  captions = [tag for tag, _ in reader.tags].count("figcaption")
  assert captions == len(TITLES) + 5
  for tag, attributes in reader.tags:
    if tag == "svg":
      assert attributes.get("aria-label"), attributes


def test_ids_are_unique_and_all_that_are_used_exist(page):
  reader = Reader(page)
  ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
  used = [attributes["href"][1:] for tag, attributes in reader.tags if tag == "use"]
  linked = [attributes["href"][1:] for tag, attributes in reader.tags if tag == "a"]
  assert len(ids) == len(set(ids)) == 5 + len(TITLES)
  assert sorted(ids) == sorted(used + linked)


def test_the_top_says_what_was_learnt_and_where_the_numbers_come_from(page, workdir):
  top = page[page.index("<header>") : page.index("</header>")]
  _, result = workdir
  text = html.unescape(re.sub("<[^>]*>", " ", top))
  for words in (
    "2026-11-29 12:34 UTC", "0123456789 with changes", "1 x <cpu>", "8 steps in 2 min 40 s", ORIGIN["command"],
    f"{COUNT} pictures", "tiny",
  ):  # fmt: skip
    assert words in text, words
  assert top.count('class="verdict') == 4
  mean = result.mean_pose["mpjpe/all"]
  assert f"better than the mean pose ({charts.number(mean)})" in text
  assert result.verdicts["mpjpe/all"]["kind"] == "better"
  assert 'class="verdict better"' in top
  assert f"{result.metrics['mpjpe/all']:.6g} mm, 95 %" in top  # on hover


def test_contents_come_before_numbers_and_numbers_before_pictures(page):
  places = [page.index(text) for text in ("</header>", "<nav", ">Results</h2>", ">Pictures at random</h2>")]
  assert places == sorted(places)
  assert [text for tag, text in Reader(page).text if tag == "a"] == TITLES


def test_values_are_told_where_they_are_pointed_at(page):
  told = re.findall(r"<title>([^<]+)</title>", page)
  assert any(re.fullmatch(r"all [\d.]+ at step 8", words) for words in told), told[:20]
  assert any(words.startswith("one hand: ") and "compared with" in words for words in told)
  assert "train/seconds" not in page
  assert "seconds" not in [text for _, text in Reader(page).text]


def test_names_cannot_break_the_page(page):
  text = "".join(part for _, part in Reader(page).text)
  assert "re<play on scenes test" in text
  assert '"name": "<b>"' in text


def test_numbers_are_those_of_the_result(page, workdir):
  text = "".join(part for _, part in Reader(page).text)
  _, result = workdir
  for key in ("mpjpe/all", "mpjpe/interacting", "mrrpe", "epe2d"):
    assert charts.number(result.metrics[key]) in text, key
  assert result.protocol.replace(" ", " · ") in text
  assert "scale=gt" in text
  assert "mean pose" in text
  assert "joints' boxes" in text  # there are no masks


def test_every_chosen_example_has_truth_and_prediction_in_three_panels(page):
  reader = Reader(page)
  cards = reader.having("card")
  assert len(cards) == 5
  assert len(reader.having("photo")) == 2 * 5
  assert len(reader.having("space")) == 2 * 2 * 5
  assert reader.having("ghost")


def test_parts_and_heatmaps_are_shown_where_they_are_predicted(tmp_path):
  evaluated(tmp_path, readings=True)
  text = report.write(tmp_path).read_text()
  reader = Reader(text)
  assert len(reader.having("card")) == 5
  assert len(reader.having("photo")) == 6 * 5
  assert len(reader.having("layer")) == 2 * 5
  crosses = [attributes for attributes in reader.having("cross") if "casing" not in attributes["class"].split()]
  assert len(crosses) == 4 * 5  # truth and prediction in two heatmaps of each example
  assert text.count("data:image/png;base64,") == 4 * 5
  assert "× the truth" in text


def test_meshes_are_shown_over_the_picture_and_to_be_turned(tmp_path, workdir):
  folder, _ = workdir
  shutil.copytree(folder, tmp_path / "run")
  shown = tmp_path / "run" / "eval" / "shown.npz"
  with np.load(shown) as file:
    arrays = dict(file)
  mano = np.zeros((len(arrays["position"]), 2, 61), np.float32)
  mano[..., 58:] = arrays["batch/joints_cam"][:, :, 20]
  arrays |= {"batch/mano": mano, "batch/mano_valid": arrays["batch/hand_present"]}
  arrays["prediction/vertices_cam"] = np.asarray(HandModel.default().forward_mano(mano).vertices)
  np.savez(shown, **arrays)
  settings = {"hand_model": "embedded-v1", "stages": []}
  (tmp_path / "run" / "config.json").write_text(json.dumps(settings))
  text = report.write(tmp_path / "run").read_text()
  reader = Reader(text)
  assert len(reader.having("card")) == 5
  assert len(reader.having("photo")) == 2 * 2 * 5
  canvases = reader.having("turn")
  assert len(canvases) == 2 * 5
  for row, (truth, found) in enumerate(zip(canvases[::2], canvases[1::2], strict=True)):
    present = arrays["batch/hand_present"][row].tolist()
    assert [hand is not None for hand in json.loads(truth["data-hands"])] == present
    assert "truth" in truth["aria-label"]
    assert "prediction" in found["aria-label"]
  assert text.count("<script>") == text.count("</script>") == 1
  assert "http" not in text
  # A model of somebody's own files that are gone: the rest of the page is there.
  (tmp_path / "run" / "config.json").write_text(json.dumps(settings | {"hand_model": str(tmp_path / "gone")}))
  assert "<script" not in report.write(tmp_path / "run").read_text()


def test_stages_have_their_own_curves(tmp_path, workdir):
  evaluated(tmp_path, pictures=False)
  (tmp_path / "config.json").write_text(json.dumps({"stages": ["first", "second"]}))
  for seed, stage in enumerate(("first", "second")):
    log(tmp_path / "stages" / stage, seed)
  shutil.copytree(tmp_path / "eval", tmp_path / "stages" / "first" / "eval")
  reader = Reader(report.write(tmp_path).read_text())
  assert [text for tag, text in reader.text if tag == "h3"] == ["Stage first", "Stage second"]
  assert "The stages, each on its own" in reader.titles()


def test_without_pictures_training_and_poses_the_rest_is_there(tmp_path):
  evaluated(tmp_path, metrics=(handedness.accuracy(),), pictures=False, baseline=False)
  reader = Reader(report.write(tmp_path).read_text())
  assert reader.titles() == ["Results"]


def test_masks_are_named_where_they_tell_the_overlap(tmp_path, workdir):
  evaluated(tmp_path, pictures=False)
  with np.load(tmp_path / "eval" / "examples.npz") as file:
    values = dict(file)
  values["overlap_from_masks"] = values["overlap_known"]
  np.savez(tmp_path / "eval" / "examples.npz", **values)
  assert "amodal" in report.write(tmp_path).read_text()


def test_a_run_that_was_not_evaluated_is_told_so(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"has no metrics\.json: evaluate the run first"):
    report.write(tmp_path)


def test_samples_are_shown_beside_annotations_with_their_calibration(tmp_path, workdir):
  folder, _ = workdir
  shutil.copytree(folder, tmp_path / "run")
  rng = np.random.default_rng(0)
  with np.load(tmp_path / "run" / "eval" / "shown.npz") as file:
    arrays = dict(file)
  truth, count = arrays["batch/joints_cam"], len(arrays["position"])
  arrays["prediction/joints_cam"] = truth
  arrays["prediction/samples"] = truth[:, None] + rng.normal(0, [2, 2, 25], (count, 6, 2, 21, 3)).astype(np.float32)
  arrays["batch/camera_valid"] = np.arange(count) > 0
  np.savez(tmp_path / "run" / "eval" / "shown.npz", **arrays)
  with np.load(tmp_path / "run" / "eval" / "examples.npz") as file:
    values = dict(file)
  said = rng.uniform(1, 60, (COUNT, 2, 21))
  values["deviation_and_error_rr"] = np.stack([said, 2 * said], -1)
  values["deviation_and_error_rr_weight"] = np.ones((COUNT, 2, 21), np.float32)
  np.savez(tmp_path / "run" / "eval" / "examples.npz", **values)
  text = report.write(tmp_path / "run").read_text()
  reader = Reader(text)
  assert "Deviation and error" in reader.titles()
  assert len(reader.having("card")) == 5 + 4  # of one example the camera is not known
  assert len(reader.having("sample")) == 2 * 10 * 4
  lines = [attributes for attributes in reader.having("bone") if "stroke:rgb" in attributes.get("style", "")]
  assert len(lines) == 40 * 4
  assert "how far a joint deviates among them" in text
  # From the side, samples lie apart by 25 mm; over the picture by a tenth of that.
  paths = [re.findall(r"-?[\d.]+,-?[\d.]+", attributes["d"]) for attributes in reader.having("sample")]
  points = np.array([[point.split(",") for point in path] for path in paths], float)
  spread = np.median(points.reshape(4, 2, 10, 6, 5, 2).std(3), axis=(0, 2, 3))
  assert spread[1, 0] > 4 * spread[1, 1] > 0


def test_without_samples_nothing_is_said_of_them(page):
  assert "Deviation and error" not in Reader(page).titles()
  assert not Reader(page).having("sample")
