"""Pretexts: tasks that make their own labels. A module's name is the pretext's name."""
