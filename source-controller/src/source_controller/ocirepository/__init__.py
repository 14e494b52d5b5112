"""OCIRepository: a layer of an artifact in a registry becomes an artifact here."""
