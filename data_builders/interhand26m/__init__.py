"""InterHand2.6M (Moon et al., ECCV 2020), from the user's own download."""

from data_builders.interhand26m.build import InterHandConfig, build, verify

__all__ = ["InterHandConfig", "build", "verify"]
