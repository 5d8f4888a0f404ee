"""Turns a Workspace into Machines, and what happens into its status."""
