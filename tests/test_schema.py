"""The schema's check: what fits passes, and each way of not fitting names the key."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands import schema

SIZES = {"B": 2, "H": 8, "W": 6, "P": 10, "Q": 12, "h": 4, "w": 3, "A": 5, "S": 7, "V": 9, "u": 5, "v": 6, "K": 11}


def example(fields: dict[str, schema.Field]) -> dict[str, np.ndarray]:
  shape = lambda field: [schema.length(a) or SIZES[a] for a in field.axes]  # noqa: E731
  return {key: np.zeros(shape(field), field.dtype) for key, field in fields.items()}


@pytest.mark.parametrize("fields", [schema.BATCH, schema.PREDICTION], ids=["batch", "prediction"])
def test_whole_dictionary_passes_and_gives_its_sizes(fields):
  sizes = schema.check(example(fields), fields)
  assert sizes == {axis: SIZES[axis] for axis in sizes}
  assert {"B", "H", "W", "h", "w"} <= set(sizes)


def test_shape_structs_pass():
  schema.check({k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in example(schema.BATCH).items()})


@given(key=st.sampled_from(sorted(schema.BATCH)), wrong=st.sampled_from(["rank", "size", "dtype"]))
def test_what_does_not_fit_is_named(key, wrong):
  batch = example(schema.BATCH)
  if wrong == "rank":
    batch[key] = batch[key][..., None]
  elif wrong == "size":
    batch[key] = np.concatenate([batch[key], batch[key]])
  else:
    batch[key] = batch[key].astype("complex64")
  with pytest.raises(schema.SchemaError) as error:
    schema.check(batch, dims={"B": SIZES["B"]})
  assert repr(key) in str(error.value)


def test_unknown_and_missing_keys_are_named():
  batch = example(schema.BATCH)
  with pytest.raises(schema.SchemaError, match="joint_cam"):
    schema.check({**batch, "joint_cam": batch["joints_cam"]})
  del batch["example_id"]
  with pytest.raises(schema.SchemaError, match="example_id"):
    schema.check(batch)
  with pytest.raises(schema.SchemaError, match="mano"):
    schema.check({k: v for k, v in example(schema.BATCH).items() if k != "mano"}, needs=("mano",))


def test_a_pose_is_whole_or_not_there():
  prediction = example(schema.PREDICTION)
  schema.check({"masks": prediction["masks"]}, schema.PREDICTION)
  del prediction["hand_prob"]
  with pytest.raises(schema.SchemaError, match=r"missing keys \['hand_prob'\]"):
    schema.check(prediction, schema.PREDICTION)


def test_not_finite_is_located():
  batch = example(schema.BATCH)
  schema.check_finite(batch)
  batch["mano"][1, 0, 60] = np.nan
  with pytest.raises(schema.SchemaError, match=r"'mano'.*\(1, 0, 60\)"):
    schema.check_finite(batch)


@given(record_id=st.integers(0, schema.MAX_RECORD_ID), view=st.sampled_from(schema.VIEWS))
def test_example_ids_fit_and_can_be_taken_apart(record_id, view):
  identity = schema.example_id(record_id, view)
  assert 0 <= identity < 2**31
  assert schema.record_and_view(identity) == (record_id, view)
  assert schema.example_id(np.array([record_id], np.int32), view).dtype == np.int32
