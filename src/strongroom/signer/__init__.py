"""TRUST BOUNDARY: verifies everything, and then signs. Holds the payment keys; reaches no database and no network."""
