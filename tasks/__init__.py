"""Stages on Prefect: tasks, the worker processes that execute them, and the device slots that they hold."""

PACKAGE = "w2s_core"
"""Where the code of stages is."""

LOGGERS = ("w2s", PACKAGE)
"""What they say is for the terminal, or the log of a run."""
