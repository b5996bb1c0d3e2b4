"""A registry like the real one."""


class Registry:
    """Entries by name."""

    def __init__(self, kind, *, param, modules):
        self.entries = {}

    def register(self, name, value=None):
        """Register an entry."""
        return lambda entry: self.entries.setdefault(name, entry)

    def get(self, name):
        """Find an entry."""
        return self.entries[name]
