"""Methods: ways to train, one module each. A module's name is the method's name."""
