"""Learned step-size controllers: searched, evaluated."""
