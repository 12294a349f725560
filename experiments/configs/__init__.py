"""Dataclasses, presets and bounds: what the command line is generated from."""
