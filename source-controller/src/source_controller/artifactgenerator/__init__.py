"""ArtifactGenerators: artifacts made of other artifacts, given out as ExternalArtifacts.

reconciler ... validation > sources > drift? > (trees > pathpattern > staging > outputs) > garbage
triggers ..... the generator itself, its sources' artifacts, its ExternalArtifacts
sources ...... which artifacts the spec means now, and one digest of all of them
trees ........ those artifacts as read-only folders, verified by digest
job .......... what runs in a worker: pathpattern, staging (patterns, merging)
outputs ...... ExternalArtifacts: adopted, written, deleted; never somebody else's
"""
