"""What Kustomizations and HelmReleases have in common: objects that bring a source into a cluster.

A run is opened (``opening``), its steps are the kind's own, what it took from caches is confirmed
before anything is written (``confirming``), and however it ends is told in one place
(``finishing``).
"""
