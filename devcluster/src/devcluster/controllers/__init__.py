"""The controllers that a control plane runs, each one a worker over keys.

namespaces: content deletion and phases; accounts: default service accounts and the CA bundle;
garbage: owner references; definitions: custom resource definitions; roles: aggregation.
"""
