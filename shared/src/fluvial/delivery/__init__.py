"""What Kustomizations and HelmReleases have in common: objects that bring a source into a cluster.

    kind ......... DeliveryKind: what a kind says of itself; settings and parts that all kinds have
    controller ... DeliveryController: queue, caches, tenants and sources of a kind, put together
    opening ...... an object is read in its newest state, and made ours by the finalizer
    run .......... DeliveryRun: what the steps of one run hand on
    unsupported .. what a version does not do yet is refused
    confirming ... what came from caches is looked at live before anything is written
    finishing .... DeliveryFinish: however a run ends is told in one place

A controller's own folder has the reconciler, which is the order of steps, and the steps.
"""
