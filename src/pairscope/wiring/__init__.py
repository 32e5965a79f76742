"""The composition root: settings become objects, and a process runs them. Only this package knows every class."""
