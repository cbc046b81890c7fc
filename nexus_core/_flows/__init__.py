"""What spans several stores: ingest, recovery of what a kill left behind, and retrieval."""
