"""Size and speed of devcluster, measured from outside: ``make bench-devcluster``."""
