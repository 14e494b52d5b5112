"""Files over HTTP from hosts that nobody vouches for.

access ... whom a host takes us for, and whom we take for the host
client ... downloads one file, within limits
gunzip ... compressed answers, within limits
"""
