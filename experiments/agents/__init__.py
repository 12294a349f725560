"""Agents of one family of trainings: built, trained, evaluated beside all baselines, presented."""
