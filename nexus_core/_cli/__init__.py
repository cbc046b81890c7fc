"""The command ``nexus``: one module for each command, imported when that command runs."""
