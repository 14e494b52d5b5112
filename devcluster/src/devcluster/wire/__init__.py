"""Protobuf bodies. Typed Go clients (``kubectl create`` among them) send nothing else.

Only requests are read; answers are always JSON, which those clients accept.
"""
