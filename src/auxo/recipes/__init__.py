"""Runs of several methods in stages; those of one method are in its own module."""
