"""Agent pools of AKS and of AKS Arc, asked for from Azure Resource Manager.

A Machine is an agent pool of one node. Azure tells nobody of a change, so one poller
lists the cluster's pools for all Machines: often while one of them is on its way, else
seldom. A pool is found again by its name, which follows from the Machine's, and it is
this operator's by its tags, which name the cluster and the Machine.

    settings    what the environment says of the cluster and the credentials
    request     the body of a pool: a pure function of the Machine
    pool        a pool as Azure tells of it, and whose it is
    failures    what Azure refuses, as the errors of `provisioners.errors`
    cloud       what is asked of either kind of cluster
    sdk         Azure's SDKs; the only module that imports them, and imported late
    session     the connection, made when it is first needed
    identity    what tells this Kubernetes cluster from all others
    pools       what is known of the cluster's pools, and what was written since
    poller      keeps that up to date and wakes Machines
    orphans     which pools nobody wants any more: pure
    sweeper     deletes those
    observation how far a Machine is, from its pool and its node: pure
    provisioner the three verbs
"""
