"""A real Kubernetes cluster on one Linux machine, for tests and the demo.

`python -m hack.cluster up` brings up etcd, the control plane and two nodes from
pinned binaries, `down` takes all of it away again. Each machine of the cluster
(the control plane and the nodes) is a sandbox: a process that holds a network,
mount, PID and host name namespace of its own. Nothing of the cluster lives
outside those sandboxes but one network link, its control groups and the state
directory `.cluster/`; ending a sandbox's first process ends all that ran in it.
"""
