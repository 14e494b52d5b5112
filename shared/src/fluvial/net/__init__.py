"""Connections out of the cluster: where they may lead, and the one way to make them.

    policy ... which addresses may be connected to
    dialer ... connects, having checked the address that is connected to, after DNS
    proxy .... an HTTP, HTTPS or SOCKS5 proxy, mostly a user's own
    environment  the operator's proxies, from HTTPS_PROXY and its kin
    hosts .... what may be a host at all
    tunnel ... HTTP sessions through such a proxy
    tls ...... trust and client certificates, as Secrets have them
    gateway .. a proxy on loopback, through which child processes reach the dialer

Only connections to the API servers of clusters are made elsewhere (``fluvial.kube``), and the
ones to artifact URLs, whose rules are ``fluvial.artifact``'s.
"""
