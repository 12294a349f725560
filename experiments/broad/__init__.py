"""Broad meta-training: one controller from many kinds of problems."""
