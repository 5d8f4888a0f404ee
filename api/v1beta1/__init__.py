"""Workspace as it is stored."""
