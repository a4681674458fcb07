"""What the commands do, one module a command; configuration in, a frozen result out."""
