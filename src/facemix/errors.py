"""The one error for what a user can mend: a command prints its message, anything else shows its traceback."""


class FacemixError(ValueError):
    """Says what was found, what was expected, and what to do."""
