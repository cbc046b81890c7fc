"""A small Google Cloud Storage of our own, for tests: the JSON API, and of the XML
API what puts, gets and looks at one object, also by signed URLs.

One process, one lock, objects in files and all else in memory. What it knows, it does as the
service documents it: generations, metagenerations, preconditions, checksums, resumable uploads,
ranges, listing, versions, rewriting in several calls, retention, signatures, tokens that expire.
What it does not know it refuses with 501.
"""
