"""Container images for the local cluster, built without Docker or a registry.

`python -m hack.images build` makes them with buildah from the Containerfiles
below this folder, the same that `docker build` takes elsewhere; `push` brings
them into the cluster's registry. A tag is a hash of everything that went into
the image, so what has not changed is neither built nor pushed again.
"""
