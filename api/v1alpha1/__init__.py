"""Workspace under its first version, and Machine."""
