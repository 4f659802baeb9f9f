"""What the commands do, as functions: a module for each, so that one imports what it alone needs."""
