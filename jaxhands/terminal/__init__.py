"""What programs say and how their command lines are read."""
