"""From pictures to both hands in one camera frame."""
