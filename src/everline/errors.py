"""The root of the error tree: everything that Everline raises on purpose."""


class EverlineError(Exception):
    """
    Base of all errors raised on purpose.

    The text says what was found, what was needed and what to do next; fields carry the parts.
    The command line prints the text as one line and exits with `exit_code`.
    """

    exit_code = 1
