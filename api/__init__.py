"""The kaito.sh API as pydantic models, the source of the CRDs in manifests/crds.

- `v1beta1`: Workspace, the storage version.
- `v1alpha1`: the same Workspace under its first version, and Machine.
- `definitions`: names, versions and printer columns of each kind.
- `conditions`, `labels`: the strings that objects carry.
- `parse`: from a raw object to a model, or an error that names the field.
- `validate`: every fault of a raw object, as the API server would name it.
- `schemas`: what `validate` knows of each kind, made ahead of time.

`make generate` turns the models into CRDs and schemas; docs/api.md explains the
choices.
"""
