"""The whole job on this machine with nothing configured: PostgreSQL from a wheel, made-up postings, a small model."""
