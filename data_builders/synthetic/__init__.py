"""Rendered hands, two or one, with every label: a data set that anyone can build."""

from data_builders.synthetic.build import build
from data_builders.synthetic.config import SyntheticConfig

__all__ = ["SyntheticConfig", "build"]
