"""Layers that several methods and backbones share: heads and batch norm."""
