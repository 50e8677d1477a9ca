"""Pods' cgroups: what they are called, what is written into them, and how all that runs in one is ended.

The tree of a node is the one that a kubelet with `--cgroups-per-qos` makes below its `--cgroup-root`, which here is the
node's own (several nodes may share a machine):

    covey / CLUSTER / NODE / kubepods                        as much as the node may give to pods
                                 / podUID                    a Guaranteed pod; its containers are below it
                                 / burstable  / podUID       weighs as much as its pods ask for together
                                 / besteffort / podUID       weighs next to nothing

Sandboxes are not in it: warm ones exist before their pod does, so every pause container stays where the runtime puts
containers that name no parent. It uses no CPU, and one page of memory.
"""
