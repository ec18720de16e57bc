"""AIH as its authors released it, from a download."""

from data_builders.aih.released.build import NAME, ReleasedConfig, build, verify
from data_builders.aih.released.problems import KINDS

__all__ = ["KINDS", "NAME", "ReleasedConfig", "build", "verify"]
