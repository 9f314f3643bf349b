"""The command line: one file for every group of commands."""
