"""The version of this package. setup.cfg reads it from here, so distribution and code can't disagree."""

VERSION = "0.1.0"
