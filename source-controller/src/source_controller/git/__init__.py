"""Git: what is asked of a repository, and the job in a worker process that does it with libgit2."""
