"""Applies the workload that serves a model, and judges whether it does."""
