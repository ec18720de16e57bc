"""Hands drawn over pictures and seen in space."""
