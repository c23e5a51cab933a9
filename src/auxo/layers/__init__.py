"""Layers and terms that several methods and measures share: heads, batch norm, discrepancies, weights of cells."""
