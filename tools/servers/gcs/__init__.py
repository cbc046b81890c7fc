"""A small Google Cloud Storage of our own, for tests: JSON API, and signed URLs of the XML API.

One process, one lock, objects in files and all else in memory. What it knows, it does as the
service documents it: generations, metagenerations, preconditions, checksums, resumable uploads,
ranges, listing, versions, rewriting in several calls, retention, signatures, tokens that expire.
What it does not know it refuses with 501.
"""
