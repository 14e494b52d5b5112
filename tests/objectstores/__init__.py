"""Object storages for tests: real servers in processes of their own, and one that can lie."""
