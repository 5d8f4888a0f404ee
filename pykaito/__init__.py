"""pykaito runs open models on Kubernetes from one Workspace object."""

__version__ = "0.1.0"
