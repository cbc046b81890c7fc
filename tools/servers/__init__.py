"""Real servers for tests and benchmarks: one module each, all started the same way.

``python -m tools.servers NAME`` starts a server of its own on the loopback interface, with files
of its own; ``python -m tools.servers install NAME ...`` gets the programs that it needs. Tests ask
for one by the fixture ``server`` of the root ``conftest.py``.
"""
