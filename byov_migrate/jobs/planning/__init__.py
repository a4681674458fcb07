"""What `plan` is made of: a sample, arithmetic on it, a look at both ends. Nothing in here writes anything."""
