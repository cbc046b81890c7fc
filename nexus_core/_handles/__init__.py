"""Between application and backend: what must always happen stands here once.

``gate`` admits a call, records it and translates what goes wrong; the handles beside it check
arguments, shape requests for their role, and check what came back.
"""
