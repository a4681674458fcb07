"""Results and progress for people and programs; nothing else prints. Results to stdout, the rest to stderr."""
