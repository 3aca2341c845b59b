"""Drills: a fault for each alert, caused on the running stack, watched, and mended again."""
