"""What Helm's repositories and charts are made of.

index .... the index of a repository: model, reading, cleaning, writing
job ...... what a worker process does with files that may be hostile
client ... the controller's side of that
"""
