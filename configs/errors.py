"""The one error that a user is meant to read."""


class InputError(Exception):
    """Something that the user gave cannot be used.

    The message says what was expected, what was found, where, and what to do. Commands print it without a traceback
    and exit with status 2; anything else that is raised is a defect of ours and keeps its traceback.
    """
