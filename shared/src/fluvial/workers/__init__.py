"""Child processes for what is native, unkillable or unsafe in process."""
