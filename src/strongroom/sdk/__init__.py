"""The client library: signs, retries, pages, recomputes ids. Imports nothing else of the package."""
