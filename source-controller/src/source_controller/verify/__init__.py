"""Signatures of what comes from registries: cosign's and Notation's.

Everything here fails closed: what cannot be read, is of an unknown form, or is over something else
is no signature. One that counts is enough.
"""
