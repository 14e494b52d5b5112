"""The load harness: N objects at once, on either control plane, for any controllers of the API.

    placeholders  $(name) in data files
    workload      what is created: bench/workloads/*.yaml
    controllers   what is measured: bench/controllers/*.yaml, peers' included
    plane         the control plane, the Git server and the clients of one run
    observe       when each object became ready, by watch
    phases        install, upgrade, no-op, drift, uninstall
    floor         the least number of requests for a phase, sent by a bare client
    audit, sampling, lag    what a phase cost: requests, CPU and memory, event loops
    run           one run: floor, controllers, phases
    results, report         figures as values, JSON, text and tables

``python -m bench load --help`` is the way in.
"""
